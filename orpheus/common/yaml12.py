"""YAML 1.2 for configurations, on top of PyYAML, which reads YAML 1.1: there `on` and `no` are booleans, 2e-4 is a text, 010 is
eight and 1:30 is ninety. Here plain words are what the core schema of YAML 1.2.2 (10.3.2) says, and no key comes twice.
"""

import re

import yaml

_TAG = "tag:yaml.org,2002:"


def _float(text):
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


_PLAIN = {  # what a plain word is if it looks like this, and how it is read; all else is text
    "null": (r"null|Null|NULL|~|", lambda text: None),
    "bool": (r"true|True|TRUE|false|False|FALSE", lambda text: text.lower() == "true"),
    "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", lambda text: int(text, 0 if text[1:2] in ("o", "x") else 10)),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        _float,
    ),
}
_RESOLVERS = [(_TAG + kind, re.compile(rf"(?:{pattern})\Z")) for kind, (pattern, _) in _PLAIN.items()]


class Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = {None: _RESOLVERS}  # None: whatever the first character

    def construct_mapping(self, node, deep=False):
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for key, _ in node.value:
            if keys.count(key.value) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} is set twice", key.start_mark)
        return super().construct_mapping(node, deep)


class Dumper(yaml.SafeDumper):
    """Puts into quotes what either version would not read as the same text."""

    yaml_implicit_resolvers = {
        first: [*others, *_RESOLVERS] for first, others in yaml.SafeDumper.yaml_implicit_resolvers.items()
    } | {None: _RESOLVERS}


def _represent_text(dumper, text):
    breaks = text.splitlines() not in ([text], [])  # written plainly, all kinds of them would be read as one
    return dumper.represent_scalar(_TAG + "str", text, '"' if breaks else None)


Dumper.add_representer(str, _represent_text)


def _construct(kind):
    pattern, read = re.compile(_PLAIN[kind][0]), _PLAIN[kind][1]

    def construct(loader, node):
        text = loader.construct_scalar(node)
        if not pattern.fullmatch(text):  # an explicit tag on something else
            raise yaml.constructor.ConstructorError(None, None, f"{text} is no {kind}", node.start_mark)
        return read(text)

    return construct


Loader.yaml_constructors = {
    _TAG + "str": yaml.SafeLoader.construct_yaml_str,
    _TAG + "seq": yaml.SafeLoader.construct_yaml_seq,
    _TAG + "map": yaml.SafeLoader.construct_yaml_map,
    None: yaml.SafeLoader.construct_undefined,
} | {_TAG + kind: _construct(kind) for kind in _PLAIN}
