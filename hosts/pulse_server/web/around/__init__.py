"""What stands around every route: ids and headers, limits, keys of requests that come twice, proxies."""
