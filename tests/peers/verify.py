"""Verifies webhooks with the reference library: one JSON object a line in, one word a line out."""

import json
import sys

from standardwebhooks import Webhook, WebhookVerificationError

for line in sys.stdin:
    message = json.loads(line)
    try:
        verified = Webhook(message["secret"]).verify(message["body"], message["headers"])
        print(verified["type"], flush=True)
    except WebhookVerificationError as refused:
        print(f"refused: {refused}", flush=True)
