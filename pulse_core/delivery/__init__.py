"""Delivery: from a committed promise to the receiver, for as long as three days.

ending      how an attempt ended, and what follows (pure; when to try again is pulse_core.schedule)
attempt     one attempt; containment: whatever the plugin does
channels    channel objects, built and kept
endpoints   limits; breakers: who is left alone; desk: what is under way
claimer     taking from the outbox; recorder: writing back
engine      all of it together
"""

from pulse_core.delivery.channels import Channels
from pulse_core.delivery.engine import DeliveryEngine
from pulse_core.schedule import CONTRACT, Schedule

__all__ = ["CONTRACT", "Channels", "DeliveryEngine", "Schedule"]
