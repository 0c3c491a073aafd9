"""Drive a broker as `test_broker_model` does, with many who want one id."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.brokerproto.test_broker_model import BrokerMachine


class ContendingMachine(BrokerMachine):
    """Strangers come back while the broker still believes in their old connections."""

    @rule(
        data=st.data(),
        ahead=st.sampled_from([0, 0, 1, 5, -1]),
        token=st.sampled_from(["right", "right", "wrong", "none"]),
        more=st.sampled_from(
            ["", "", "HeartBeat:{id}:{next}\nHeart", "Bye\n", "oops!\n", "What\n"]
        ),
    )
    def stranger_comes_again(self, data: st.DataObject, ahead: int, token: str, more: str) -> None:
        """As somebody does whose connection the broker still believes in."""
        stranger = self._a_stranger(data)
        if stranger is None:
            return
        model, name = self.broker.model, stranger.engine_id
        life = model.lives.get(name)
        # One who spoke for an engine would spoil its account.
        if life is None or life.instance not in ("f1", "f2"):
            return
        again = self.opens()
        again.engine_id, again.seq = name, max(0, life.settled + ahead)
        tokens = {"right": model.ownership.token(name), "wrong": "0" * 32}
        resume = f";resume={tokens[token]}" if token in tokens else ""
        hello = f"NewEngine:{name}:{again.seq}:v=1;instance={life.instance};ack=1{resume}\n"
        self.say(again, hello + more.format(id=name, next=again.seq + 1))

    @rule(times=st.integers(2, 7), others=st.integers(0, 2))
    def id_goes_to_and_fro(self, times: int, others: int) -> None:
        """As it does where connections break and nobody notices, and others want it too."""
        model = self.broker.model
        for _ in range(times):
            life = model.lives.get("r")
            known = life is not None and life.instance == "f2"
            again = self.opens()
            again.engine_id, again.seq = "r", life.settled if life is not None and known else 0
            resume = f";resume={model.ownership.token('r')}" if known else ""
            self.say(again, f"NewEngine:r:{again.seq}:v=1;instance=f2{resume}\n")
        for _ in range(others):
            self.stranger_says_hello("r", 0, ":v=1;instance=f1")


TestContendedBroker = ContendingMachine.TestCase
