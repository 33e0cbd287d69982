"""What a webhook in Python needs to trust what Kemi delivers. It imports nothing of Kemi: copy it."""

import base64
import hashlib
import hmac
import time


def verify(secret, headers, body, now=None):
    """Says whether Kemi signed the body (bytes) lately. Source: Standard Webhooks specification."""
    id, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not stamp.isdigit() or abs((now or time.time()) - int(stamp)) > 300:
        return False
    key = base64.b64decode(secret.removeprefix("whsec_"))
    want = "v1," + base64.b64encode(hmac.new(key, f"{id}.{stamp}.".encode() + body, hashlib.sha256).digest()).decode()
    return any(hmac.compare_digest(one.encode(), want.encode()) for one in headers.get("webhook-signature", "").split())
