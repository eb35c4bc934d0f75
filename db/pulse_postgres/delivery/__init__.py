"""Deliveries in the database, as the engine works them and as people see them.

outbox     the store that the engine is given
claim      taking (order: whose turn it is, pure); record: writing back
fallback   the second integration of a route; breakers: who is left alone
pages      the ledger as people read it; requests: replay, cancel, test
"""
