"""The SDKs of OpenAI and Anthropic, as docs/workloads.md says to use them, below `scrip token exec`. The gateway answers with
the `jti` of the token that it was shown, or 401."""

import base64
import json
import os
import pathlib
import time

from anthropic import Anthropic
from anthropic.lib.credentials import AccessToken
from openai import OpenAI

MESSAGES = [{"role": "user", "content": "Who am I?"}]


def token(**_) -> str:
    return pathlib.Path(os.environ["SCRIP_TOKEN_FILE"]).read_text()


def jti(jwt: str) -> str:
    payload = jwt.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["jti"]


def ask_openai(client: OpenAI) -> str:
    return client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES).choices[0].message.content


def ask_anthropic(client: Anthropic) -> str:
    return client.messages.create(model="claude-sonnet-4", max_tokens=10, messages=MESSAGES).content[0].text


def renewed(old: str) -> str:
    """The token that takes the place of `old` in the file."""
    for _ in range(600):
        new = token()
        if new != old:
            return new
        time.sleep(0.05)
    raise AssertionError("never renewed")


# What stands in the environment is enough for a program that nobody changed.
assert ask_openai(OpenAI()) == jti(os.environ["OPENAI_API_KEY"])
assert ask_anthropic(Anthropic()) == jti(os.environ["ANTHROPIC_AUTH_TOKEN"])

# One that runs for longer reads the file for each request, and notices nothing of renewals.
openai = OpenAI(api_key=token)
anthropic = Anthropic(credentials=lambda **_: AccessToken(token(), expires_at=0))
for ask, client in ((ask_openai, openai), (ask_anthropic, anthropic)):
    before = ask(client)
    new = renewed(token())
    after = ask(client)
    assert before != after, "the token before"
    assert after == jti(new) or after == jti(token()), "a token that is not in the file"
print("done")
