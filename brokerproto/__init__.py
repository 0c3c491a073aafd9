"""The engine protocol: handshake, sequenced heartbeat, liveness, commands.

All of it but ``protocol`` is sans-I/O: it knows no reactor, no socket and no clock.
From the ground up:

* ``errors``, ``messages``, ``grammar``, ``framing``, ``wire``: what travels;
* ``states``, ``account``, ``liveness``, ``terms``, ``retry``: the rules;
* ``broker_session``, ``engine_session``: one conversation, either side;
* ``fleet``, ``ownership``, ``commands``, ``ledger``, ``broker``: many conversations, as the
  broker sees them;
* ``selection``, ``orders``: whom a command is meant for, and what it must keep to be sent;
* ``engine``: one engine's life over several connections;
* ``protocol``: Twisted's Protocols and Factories, with a broker of your own in 30 lines;
* ``testing``: fakes, and a wire in memory.
"""
