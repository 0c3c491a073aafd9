"""The engine protocol: handshake, sequenced heartbeat, liveness, commands.

Everything here but ``protocol`` is sans-I/O: it knows no reactor, socket or clock.
"""
