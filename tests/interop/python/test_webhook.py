"""Whoever is told of alerts, with the check that stands in docs/alerts.md."""

import os
import re
import unittest
from pathlib import Path
from unittest import mock

ALERTS = Path(__file__).parents[3] / "docs" / "alerts.md"
CHECK = re.search(r"```python\n((?:(?!```).)*def is_from_scrip.*?)```", ALERTS.read_text(), re.DOTALL)

HEADERS = {name: os.environ[name.upper().replace("-", "_")] for name in ("webhook-id", "webhook-timestamp", "webhook-signature")}
BODY = os.environ["WEBHOOK_BODY"].encode()
SECRET = os.environ["WEBHOOK_SECRET"]


class Check(unittest.TestCase):
    def setUp(self):
        names = {}
        exec(CHECK[1], names)
        self.is_from_scrip = names["is_from_scrip"]

    def test_what_was_sent_is_accepted(self):
        self.assertTrue(self.is_from_scrip(HEADERS, BODY, SECRET))
        # While a secret is changed there are two signatures.
        both = HEADERS | {"webhook-signature": "v1,AAAA " + HEADERS["webhook-signature"]}
        self.assertTrue(self.is_from_scrip(both, BODY, SECRET))

    def test_what_was_not_is_refused(self):
        later = str(int(HEADERS["webhook-timestamp"]) + 1)
        for headers, body, secret in [
            (HEADERS, BODY + b" ", SECRET),
            (HEADERS, BODY, "whsec_" + "A" * 32),
            (HEADERS | {"webhook-id": "another"}, BODY, SECRET),
            (HEADERS | {"webhook-timestamp": later}, BODY, SECRET),
            (HEADERS | {"webhook-signature": ""}, BODY, SECRET),
        ]:
            self.assertFalse(self.is_from_scrip(headers, body, secret))

    def test_what_is_sent_again_later_is_refused(self):
        with mock.patch("time.time", return_value=int(HEADERS["webhook-timestamp"]) + 301):
            self.assertFalse(self.is_from_scrip(HEADERS, BODY, SECRET))


if __name__ == "__main__":
    unittest.main()
