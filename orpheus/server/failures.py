"""Why a request is not served, in the shape that OpenAI's clients read."""

import json
import math


class Refusal(Exception):
    """An answer that is no sound. status: of HTTP; param: the field that it is about; wait: seconds until one should ask again"""

    def __init__(self, status, message, kind="invalid_request_error", param=None, code=None, wait=None):
        super().__init__(message)
        self.status, self.message, self.kind, self.param, self.code, self.wait = (
            status,
            message,
            kind,
            param,
            code,
            wait,
        )

    @property
    def parts(self):
        """What makes the same one in another process."""
        return self.status, self.message, self.kind, self.param, self.code, self.wait

    @property
    def error(self):
        return {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}

    @property
    def body(self):
        """JSON, as bytes."""
        return json.dumps({"error": self.error}).encode()

    @property
    def headers(self):
        """{name: value}"""
        return {} if self.wait is None else {"retry-after": str(max(1, math.ceil(self.wait)))}


def invalid(message, param=None, code=None):
    return Refusal(400, message, param=param, code=code)


def unknown_model(name, known):
    return Refusal(
        404,
        f"the model {name!r:.100} does not exist; there are {', '.join(known)}",
        param="model",
        code="model_not_found",
    )


def no_key():
    return Refusal(
        401, "a key is needed: send it as `Authorization: Bearer KEY`", "authentication_error", code="invalid_api_key"
    )


def wrong_key():
    return Refusal(401, "the key is not known", "authentication_error", code="invalid_api_key")


def forbidden(message):
    return Refusal(403, message, "permission_error", code="forbidden")


def too_large(message):
    return Refusal(413, message, code="request_too_large")


def too_slow(message):
    return Refusal(408, message, code="request_timeout")


def busy(message, wait):
    return Refusal(429, message, "rate_limit_error", code="rate_limit_exceeded", wait=wait)


def unavailable(message, wait):
    return Refusal(503, message, "server_error", code="service_unavailable", wait=wait)


def late(message):
    return Refusal(504, message, "server_error", code="timeout")


def broken(message):
    return Refusal(500, message, "server_error", code="internal_error")
