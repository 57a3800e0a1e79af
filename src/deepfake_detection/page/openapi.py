"""The interface for other programs, as an OpenAPI description."""

from typing import Any

from deepfake_detection.models.score_json import json_schemas
from deepfake_detection.page.requests import OWN_HEADER, Limits

_REFUSALS = {
    400: "The file cannot be read.",
    403: f"The header {OWN_HEADER} is missing, or a page of another site asks.",
    408: "The file did not arrive in time.",
    411: "The body has no length.",
    413: "Too many bytes or pixels.",
    415: "The body is a form or compressed.",
    422: "Decoding takes too long, or the network gives no finite number.",
    503: "Too many files at once: try again after the seconds in Retry-After.",
}


def describe_interface(limits: Limits) -> dict[str, Any]:
    """An OpenAPI 3.1 document of `POST /score`."""
    schemas = json_schemas("#/components/schemas/{model}")
    kinds = {"picture": "Score", "clip": "VideoScore"}
    for kind, name in kinds.items():
        # a file that is sent has no path
        del schemas[name]["properties"]["path"]
        schemas[name]["properties"]["kind"] = {"const": kind}
        schemas[name]["required"] = ["kind", *schemas[name]["required"][1:]]
    schemas["Error"] = {
        "type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"],
    }  # fmt: skip
    answer = {
        "oneOf": [{"$ref": f"#/components/schemas/{name}"} for name in kinds.values()],
        "discriminator": {
            "propertyName": "kind",
            "mapping": {kind: f"#/components/schemas/{name}" for kind, name in kinds.items()},
        },
    }
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "deepfake-page", "version": "1"},
        "paths": {
            "/score": {
                "post": {
                    "summary": "Score a picture or a clip.",
                    "description": f"At most {limits.max_megabytes:g} MB of a picture and "
                    f"{limits.max_clip_megabytes:g} MB of a clip.",
                    "parameters": [
                        _flag("pictures", "Add what a page shows, as data URIs."),
                        _flag("heat_maps", "Add the heat map of each face of a picture."),
                        {
                            "name": OWN_HEADER, "in": "header", "required": True,
                            "schema": {"const": "1"},
                        },
                    ],
                    "requestBody": {
                        "required": True,
                        "content": {"application/octet-stream": {}},
                    },
                    "responses": {
                        "200": {
                            "description": "The score; without a verdict, `error` says why.",
                            "content": {"application/json": {"schema": answer}},
                        },
                        **{
                            str(status): {"description": text, "content": error}
                            for status, text in _REFUSALS.items()
                        },
                    },
                }
            }
        },
        "components": {"schemas": schemas},
    }  # fmt: skip


def _flag(name: str, description: str) -> dict[str, Any]:
    schema = {"enum": ["0", "1"], "default": "0"}
    return {"name": name, "in": "query", "description": description, "schema": schema}
