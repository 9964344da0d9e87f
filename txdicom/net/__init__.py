"""The driver of the upper layer on Twisted: connections, associations, flow, timers, limits."""
