"""What must hold whatever bytes come: targets for a fuzzer, and a corpus for each.

``python -m fuzz TARGET`` has atheris look for bytes that break a target; the tests in
``tests/fuzz`` run every target over its kept corpus, without atheris.
"""
