"""Tools as the model sees them."""

from penstock.metering.tool_schema import namespace


def test_tools_are_rendered_as_a_namespace() -> None:
    functions = [
        {"name": "ping", "description": "Say hello"},
        {
            "name": "find",
            "parameters": {
                "type": "object",
                "required": ["query"],
                "properties": {
                    "query": {"type": "string", "description": "What to find"},
                    "limit": {"type": "integer"},
                    "kind": {"enum": ["a", "b"]},
                    "range": {
                        "type": "object",
                        "properties": {
                            "from": {"type": ["string", "null"], "description": "first"},
                            "deep": {
                                "type": "object",
                                "properties": {"x": {"type": "boolean", "description": "left out"}},
                            },
                        },
                    },
                    "tags": {"type": "array", "items": {"type": "string"}},
                    "any": {"anyOf": [{"type": "number"}, {"type": "array"}]},
                    "free": {"type": "object"},
                    "odd": 7,
                },
            },
        },
    ]
    assert namespace(functions).splitlines() == [
        "namespace functions {",
        "",
        "// Say hello",
        "type ping = () => any;",
        "",
        "type find = (_: {",
        "// What to find",
        "query: string,",
        "limit?: number,",
        'kind?: "a" | "b",',
        "range?: {",
        "  // first",
        "  from?: string | null,",
        "  deep?: {",
        "    x?: boolean,",
        "  },",
        "},",
        "tags?: string[],",
        "any?: number | any[],",
        "free?: object,",
        "odd?: any,",
        "}) => any;",
        "",
        "} // namespace functions",
    ]
