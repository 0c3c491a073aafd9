"""The broker as a program: options, service, control API, log."""
