"""Many connections behind one descriptor of the reactor: ``?io=hub``, on Linux.

An epoll of its own carries all connections, listeners and attempts to connect of one
reactor. The reactor wakes once for all that is ready, and no more often than each tick
where much goes on. A protocol notices nothing of it: the connections are Twisted's
transports in all but the way in which they are read.
"""
