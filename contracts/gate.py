"""The gate: what a source must be like before the host's parser may see it (CONTRACTS.md section 6).

A hand-written scan, linear in the text, with limits far below any parser's own, so that acceptance never depends on the
interpreter's version: characters, bracket and indentation depth, tokens of a logical line, number and text literals,
f-strings that 3.11 and later read alike. It knows no grammar; what the words mean is the checker's.
"""

import re
from typing import Final

from contracts.errors import ContractRefused

SOURCE_BYTES_MAX: Final = 65_536
BRACKET_DEPTH_MAX: Final = 16
INDENTATION_DEPTH_MAX: Final = 16
LINE_TOKENS_MAX: Final = 1_500
ELIF_MAX: Final = 200
NUMBER_CHARS_MAX: Final = 80
TEXT_CHARS_MAX: Final = 4_096

# Unicode 15 ranges, fixed here because the interpreter's tables change with its version.
_REFUSED_CHARACTERS: Final = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f"
    "\u2028-\u202e\u2060-\u206f\ud800-\uf8ff\ufeff\ufff9-\uffff\U000110bd\U000110cd\U00013430-\U0001343f"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U0010ffff]"
)
_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NUMBER_LIKE: Final = re.compile(r"\.?[0-9](?:[0-9A-Za-z_.]|(?<=[eE])[+-](?=[0-9]))*")
_INTEGER: Final = re.compile(r"0[xX](?:_?[0-9a-fA-F])+|0[oO](?:_?[0-7])+|0[bB](?:_?[01])+|[1-9](?:_?[0-9])*|0(?:_?0)*")
_ESCAPE: Final = re.compile(
    r"\\(?:[\n\\'\"abfnrtv]|[0-3][0-7]{2}|[0-7]{1,2}(?![0-7])|x[0-9a-fA-F]{2}"
    r"|(?P<text>u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}))?"
)
"""A backslash and what it stands for; alone where that is nothing, which parsers warn of now and refuse later."""
_TEXT_PREFIXES: Final = frozenset({"", "b", "f", "r", "br", "rb"})
_OPENING: Final = {"(": ")", "[": "]", "{": "}"}
_OPERATORS: Final = re.compile(
    r"\*\*=|//=|<<=|>>=|\*\*|//|<<|>>|<=|>=|==|!=|->|:=|[-+*/%&|^=<>@]=|[-+*/%&|^=<>@~.,:;!]"
)


def check_gate(source: bytes) -> str:
    """The source as text, within every limit. Raises ContractRefused at the first thing out of bounds."""
    if len(source) > SOURCE_BYTES_MAX:
        raise ContractRefused("SOURCE_SIZE", 1, 1, f"more than {SOURCE_BYTES_MAX} bytes")
    try:
        text = source.decode("utf-8")
    except UnicodeDecodeError as error:
        line = source.count(b"\n", 0, error.start) + 1
        raise ContractRefused("UTF8", line, 1, "the source is UTF-8 text") from None
    refused = _REFUSED_CHARACTERS.search(text)
    if refused is not None:
        line, column = _position(text, refused.start())
        hint = f"character U+{ord(refused.group()):04X} is not allowed (spaces and line feeds only)"
        raise ContractRefused("CHARACTER", line, column, hint)
    _Scan(text).run()
    return text


def _position(text: str, at: int) -> tuple[int, int]:
    return text.count("\n", 0, at) + 1, at - (text.rfind("\n", 0, at) + 1) + 1


class _Scan:
    """One pass over the text, token by token."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.brackets: list[str] = []
        self.indentation = [0]
        self.tokens = 0
        self.elifs = 0

    def refusal(self, code: str, hint: str) -> ContractRefused:
        return ContractRefused(code, *_position(self.text, self.at), hint)

    def run(self) -> None:
        text, length = self.text, len(self.text)
        self.open_line()
        while self.at < length:
            character = text[self.at]
            if character == "\n":
                self.at += 1
                if not self.brackets:
                    self.open_line()
            elif character == " ":
                self.at += 1
            elif character == "#":
                end = text.find("\n", self.at)
                self.at = length if end < 0 else end
            else:
                self.count_token()
                self.token(character)
        if self.brackets:
            raise self.refusal("SYNTAX", "a bracket is never closed")

    def open_line(self) -> None:
        """At the start of a logical line: measure its indentation, unless the line is blank or a comment."""
        self.tokens = 0
        start = self.at
        while self.text.startswith(" ", self.at):
            self.at += 1
        if self.at >= len(self.text) or self.text[self.at] in "\n#":
            return
        width = self.at - start
        while width < self.indentation[-1]:
            self.indentation.pop()
        if width > self.indentation[-1]:
            self.indentation.append(width)
        if len(self.indentation) - 1 > INDENTATION_DEPTH_MAX:
            raise self.refusal("INDENTATION", f"blocks nest at most {INDENTATION_DEPTH_MAX} deep")

    def count_token(self) -> None:
        self.tokens += 1
        if self.tokens > LINE_TOKENS_MAX:
            raise self.refusal("LINE_TOKENS", f"more than {LINE_TOKENS_MAX} tokens in one logical line")

    def token(self, character: str) -> None:
        if character in _OPENING:
            self.brackets.append(_OPENING[character])
            if len(self.brackets) > BRACKET_DEPTH_MAX:
                raise self.refusal("BRACKETS", f"brackets nest at most {BRACKET_DEPTH_MAX} deep")
            self.at += 1
        elif character in ")]}":
            if not self.brackets or self.brackets.pop() != character:
                raise self.refusal("SYNTAX", "this bracket closes nothing")
            self.at += 1
        elif character in "\"'":
            self.literal("")
        elif (number := _NUMBER_LIKE.match(self.text, self.at)) is not None:
            self.number(number.group())
        elif (word := _WORD.match(self.text, self.at)) is not None:
            self.word(word.group())
        elif (operator := _OPERATORS.match(self.text, self.at)) is not None:
            self.at = operator.end()
        elif character == "\\":
            raise self.refusal("CONTINUATION", "put the expression in brackets; no line ends with a backslash")
        else:
            raise self.refusal("IDENTIFIER", "outside texts and comments only ASCII is allowed")

    def word(self, word: str) -> None:
        following = self.text[self.at + len(word) : self.at + len(word) + 1]
        if following in {'"', "'"}:
            self.at += len(word)
            self.literal(word)
            return
        if following and ord(following) > 0x7F:
            self.at += len(word)
            raise self.refusal("IDENTIFIER", "names are ASCII")
        if word == "elif":
            self.elifs += 1
            if self.elifs > ELIF_MAX:
                raise self.refusal("ELIF", f"at most {ELIF_MAX} elif in a file")
        self.at += len(word)

    def number(self, number: str) -> None:
        if len(number) > NUMBER_CHARS_MAX:
            raise self.refusal("NUMBER", f"a number has at most {NUMBER_CHARS_MAX} characters")
        if _INTEGER.fullmatch(number) is None:
            if number[-1] in "jJ":
                raise self.refusal("COMPLEX", "only whole numbers exist")
            is_prefixed = number[:2].lower() in {"0x", "0o", "0b"}
            if not is_prefixed and ("." in number or "e" in number.lower()):
                raise self.refusal("FLOAT", "only whole numbers exist; count in Wh, seconds, nano-EUR")
            raise self.refusal("NUMBER", "not a whole number")
        self.at += len(number)

    def literal(self, prefix: str) -> None:
        """A text: to its closing quote, f-strings without their own quote, backslash or comment inside braces."""
        lowered = prefix.lower()
        if lowered not in _TEXT_PREFIXES:
            raise self.refusal("TEXT_PREFIX", "texts are '...', b'...', f'...' or r'...'")
        text, quote = self.text, self.text[self.at]
        if text.startswith(quote * 3, self.at):
            quote *= 3
        start = self.at + len(quote)
        end = self._end_of_literal(start, quote)
        if end - start > TEXT_CHARS_MAX:
            raise self.refusal("TEXT_LITERAL", f"a text literal has at most {TEXT_CHARS_MAX} characters")
        body = text[start:end]
        if "r" not in lowered:
            self._check_escapes(body, is_bytes="b" in lowered)
        if lowered == "f":
            for first, last in self._expressions(body):
                self._scan_expression(start + first, start + last)
        self.at = end + len(quote)

    def _check_escapes(self, body: str, *, is_bytes: bool) -> None:
        for escape in _ESCAPE.finditer(body):
            if escape.group() == "\\" or (is_bytes and escape["text"]):
                raise self.refusal("TEXT_ESCAPE", "only the escapes of Python, no \\N{name}; a backslash is \\\\")

    def _end_of_literal(self, start: int, quote: str) -> int:
        text, at = self.text, start
        while at < len(text):
            if text[at] == "\\":
                at += 2
            elif text.startswith(quote, at):
                return at
            elif text[at] == "\n" and len(quote) == 1:
                break
            else:
                at += 1
        raise self.refusal("SYNTAX", "this text is never closed")

    def _expressions(self, body: str) -> list[tuple[int, int]]:
        """Where the expressions of an f-string begin and end, its braces counted as if it held no text."""
        depth, at = 0, 0
        expressions, begin = [], 0
        while at < len(body):
            character = body[at]
            if depth == 0 and body[at : at + 2] in {"{{", "}}"}:
                at += 2
                continue
            if character == "{":
                depth += 1
                begin = at + 1 if depth == 1 else begin
            elif character == "}":
                depth -= 1
                if depth == 0:
                    expressions.append((begin, at))
            elif depth > 0 and character in "\\#\n":
                raise self.refusal("FSTRING", "inside the braces of an f-string: a plain expression on one line")
            if depth < 0:
                break
            at += 1
        if depth != 0:
            raise self.refusal("FSTRING", "braces of an f-string do not match (its own quote cannot stand inside)")
        return expressions

    def _is_bare(self, begin: int) -> bool:
        """A star at the start or a `for` outside of brackets: no Python to one parser, and to another it is."""
        word = _WORD.match(self.text, self.at)
        is_loop = word is not None and word.group() == "for"
        return is_loop or (self.text[self.at] == "*" and not self.text[begin : self.at].strip(" "))

    def _scan_expression(self, begin: int, end: int) -> None:
        """An expression inside an f-string, token by token: its brackets, tokens, numbers and names count as others."""
        around = len(self.brackets)
        self.at = begin
        while self.at < end:
            character = self.text[self.at]
            if character == " ":
                self.at += 1
            elif len(self.brackets) == around and character in ":!" and not self.text.startswith("!=", self.at):
                raise self.refusal("FORMAT", "plain {expression} only, without : or !")
            elif len(self.brackets) == around and self._is_bare(begin):
                raise self.refusal("FSTRING", "put what begins with a star, or loops, in brackets of its own")
            else:
                self.count_token()
                self.token(character)
        if self.at != end or len(self.brackets) != around:
            raise self.refusal("FSTRING", "brackets or texts inside an f-string do not match")
