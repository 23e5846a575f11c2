"""Sources that never become a contract: name -> (source, code of the refusal).

Bodies are of a method `run` in the contract that `sources.contract_of` makes; files are whole sources.
"""

KIT = "Address, Contract, Event, Indexed, Interface, Ledger, Map, Struct, Vec, ctx, emit, external, init, require, view"
K = f"from contracts import {KIT}\n\n\n"
# A file begins with K; C begins the contract; RUN is a method that it needs.
C = K + "class Trial(Contract):\n"
RUN = "    @external\n    def run(self) -> int:\n        return 1\n"

BODIES = {
    "class ladder": ('return "".__class__.__mro__[1].__subclasses__()', "UNDERSCORE"),
    "frame through a generator": ("return (x for x in [1]).gi_frame.f_back.f_globals", "ATTRIBUTE"),
    "frame without underscores": ("g = [x for x in [1]]\nreturn g.gi_frame", "ATTRIBUTE"),
    "format string": ('return len("{0.__class__}".format(self))', "METHOD"),
    "format_map": ('return len("{x}".format_map({}))', "METHOD"),
    "percent with names": ('return "%(x)s".mod({})', "METHOD"),
    "builtins": ("return __builtins__", "UNDERSCORE"),
    "import call": ('return __import__("os")', "UNKNOWN_FUNCTION"),
    "import statement": ("import os\nreturn 1", "IMPORT"),
    "eval": ('return eval("1")', "UNKNOWN_FUNCTION"),
    "exec": ('exec("x = 1")\nreturn 1', "UNKNOWN_FUNCTION"),
    "compile": ('return compile("1", "", "eval")', "UNKNOWN_FUNCTION"),
    "globals": ("return globals()", "UNKNOWN_FUNCTION"),
    "getattr": ('return getattr(self, "x")', "UNKNOWN_FUNCTION"),
    "type of a value": ("return type(1)", "UNKNOWN_FUNCTION"),
    "catch the meter": ("try:\n    pass\nexcept BaseException:\n    pass\nreturn 1", "EXCEPTION"),
    "exception star": ("try:\n    pass\nexcept* ValueError:\n    pass\nreturn 1", "EXCEPTION"),
    "finally": ("try:\n    return 1\nfinally:\n    pass", "EXCEPTION"),
    "class pattern": ("match 1:\n    case object():\n        return 1", "MATCH"),
    "decorator of a method": ("def f() -> int:\n    return 1\nreturn f()", "NESTED_FUNCTION"),
    "lambda default": ("return (lambda x=1: x)()", "CALL"),
    "function attribute": ("return self.run.__globals__", "UNDERSCORE"),
    "bound method": ("return [].append.__self__", "UNDERSCORE"),
    "sort by identity": ("return sorted([1, 2], key=id)", "CALL"),
    "identity": ("return 1 if 1 is 1 else 0", "IS"),
    "repr": ("return len(repr(self))", "UNKNOWN_FUNCTION"),
    "conversion": ('return len(f"{self!r}")', "FORMAT"),
    "set order": ("return len({1, 2})", "SET"),
    "clock": ("import time\nreturn time.time()", "IMPORT"),
    "random": ("return random()", "UNKNOWN_FUNCTION"),
    "star call": ("return max(*[1, 2])", "STAR"),
    "global": ("global run\nreturn 1", "GLOBAL"),
    "huge literal": ("return " + "9" * 80, "INT_RANGE"),
    "deep brackets": ("return " + "(" * 20 + "1" + ")" * 20, "BRACKETS"),
    "deep unary": ("return " + "-" * 1_000 + "1", "TREE_DEPTH"),
    "many terms": ("return " + " + ".join(["1"] * 2_000), "LINE_TOKENS"),
    "long else chain": ("if True:\n    return 1\n" + "elif True:\n    return 1\n" * 300, "ELIF"),
    "private field": ("return self._Trial__x", "UNDERSCORE"),
    "assign to a method": ("self.run = 1\nreturn 1", "UNKNOWN_FIELD"),
    "assign to context": ('ctx.sender = b""\nreturn 1', "TARGET"),
    "infinite float": ("return int(1e999)", "FLOAT"),
    "walrus in a comprehension": ("return len([y := 1 for x in [1]])", "WALRUS"),
    "await": ("await run()\nreturn 1", "ASYNC"),
    "with": ("with open('x') as f:\n    pass\nreturn 1", "WITH"),
    "raise": ("raise ValueError\nreturn 1", "EXCEPTION"),
    "del of a name": ("x = 1\ndel x\nreturn 1", "DELETE"),
    "delete a field": ("del self.m\nreturn 1", "DELETE"),
    "for else": ("for i in [1]:\n    pass\nelse:\n    pass\nreturn 1", "LOOP_ELSE"),
    "matrix product": ("return 1 @ 1", "OPERATOR"),
    "true division": ("return 1 / 2", "OPERATOR"),
    "ellipsis": ("x = ...\nreturn 1", "CONSTANT"),
    "yield expression": ("x = [(yield 1)]\nreturn 1", "GENERATOR"),
    "starred assignment": ("a, *b = [1, 2]\nreturn a", "STAR"),
    "chained assignment to a subscript of self": ("self['x'] = 1\nreturn 1", "NAME_USE"),
    "attribute of a text": ('return "a".x', "ATTRIBUTE"),
    "method through a variable": ('x = "a".upper\nreturn 1', "ATTRIBUTE"),
    "dunder name": ("return __name__", "UNDERSCORE"),
    "super": ("return super().run()", "METHOD"),
    "object identity": ("return id(self)", "UNKNOWN_FUNCTION"),
    "memory view": ('return len(memoryview(b"a"))', "UNKNOWN_FUNCTION"),
    "slice with a step": ("x = [1, 2]\nreturn len(x[::-1])", "SLICE_STEP"),
    "keyword call of a helper": ("return forever(n=1)", "CALL"),
    "type alias": ("type X = int\nreturn 1", "SYNTAX"),
    "nonlocal": ("nonlocal x\nreturn 1", "GLOBAL"),
    "assert without a code": ("assert True\nreturn 1", "CODE"),
    "call of a call": ("return forever(1)(2)", "CALL"),
    "int with a base": ('return int("ff", 16)', "CALL"),
    "sorted with a method as key": ("return len(sorted([1], key=self.run))", "CALL"),
    "emit nothing": ("emit(1)\nreturn 1", "CALL"),
    "event by a variable": ("e = Said\nemit(e(1))\nreturn 1", "NAME_USE"),
    "struct by position of a stranger": ("return Unknown(1)", "UNKNOWN_FUNCTION"),
    "interface by text": ('return Interface("x").run()', "METHOD"),
    "lower a role at run time": ('role("x")\nreturn 1', "UNKNOWN_FUNCTION"),
    "method of the context": ("return ctx.run()", "METHOD"),
    "write the time": ("ctx.time = 0\nreturn 1", "TARGET"),
    "set literal in a loop": ("for x in {1, 2}:\n    pass\nreturn 1", "SET"),
}

# What a parser would read, each of them in its own way, and what only looks like something else.
BODIES |= {
    "brackets inside an f-string": ('return len(f"{' + "(" * 150 + "1" + ")" * 150 + '}")', "BRACKETS"),
    "signs inside an f-string": ('return len(f"{' + "-" * 3_000 + '1}")', "LINE_TOKENS"),
    "fullwidth name inside an f-string": ('return len(f"{\uff53elf.m}")', "IDENTIFIER"),
    "letter of a later Unicode inside an f-string": ('return len(f"{\U00011f04}")', "IDENTIFIER"),
    "number inside an f-string": ('return len(f"{' + "9" * 90 + '}")', "NUMBER"),
    "bracket that an f-string closes": ('return len((f"{)}", 1))', "FSTRING"),
    "star inside an f-string": ('x = [1]\nreturn len(f"{*x}")', "FSTRING"),
    "loop inside an f-string": ('x = [1]\nreturn len(f"{y for y in x}")', "FSTRING"),
    "half a character as an escape": (r'return len("\ud83d\ude00")', "TEXT_ESCAPE"),
    "character beyond Unicode": (r'return len("\U00110000")', "SYNTAX"),
    "escape of nothing": (r'return len("\d")', "TEXT_ESCAPE"),
    "octal beyond a byte": (r'return len(b"\777")', "TEXT_ESCAPE"),
    "escaped brace of an f-string": (r'return len(f"\{1}")', "TEXT_ESCAPE"),
    "no-break space": ("return\u00a01", "IDENTIFIER"),
    "ideographic space": ("return\u30001", "IDENTIFIER"),
    "next line": ("x = 1\u0085return 1", "CHARACTER"),
    "line separator": ("x = 1\u2028return 1", "CHARACTER"),
    "continuation": ("x = 1 + \\\n    1\nreturn x", "CONTINUATION"),
    "sixty-four hexadecimal digits": ("return 0x" + "f" * 64, "INT_RANGE"),
    "one past the largest number": (f"return {2**255} - 1", "INT_RANGE"),
    "more variables than there are": ("\n".join(f"v{n} = {n}" for n in range(501)) + "\nreturn 1", "LOCALS"),
    "annotation that calls": ('x: print("x") = 1\nreturn x', "TYPE_HINT"),
    "own name as a variable": ("self = 1\nreturn self", "SHADOW"),
}

FILES = {
    "code at module level": ((K + "print(1)\n\n\nclass Trial(Contract):\n" + RUN).encode(), "MODULE_LEVEL"),
    "loop at module level": (
        (K + "while True:\n    pass\n\n\nclass Trial(Contract):\n" + RUN).encode(),
        "MODULE_LEVEL",
    ),
    "constant that computes": ((K + "X = 2 ** 1000\n\n\nclass Trial(Contract):\n" + RUN).encode(), "CONSTANT"),
    "constant that is a list": ((K + "X = [1]\n\n\nclass Trial(Contract):\n" + RUN).encode(), "CONSTANT"),
    "no contract": (K.encode(), "CONTRACT"),
    "two contracts": ((C + RUN + "\n\nclass Other(Contract):\n" + RUN).encode(), "CONTRACT"),
    "contract with a metaclass": ((K + "class Trial(Contract, metaclass=type):\n" + RUN).encode(), "CLASS"),
    "contract derived twice": ((K + "class Trial(Contract, Struct):\n" + RUN).encode(), "CLASS"),
    "contract derived from object": ((K + "class Trial(object):\n" + RUN).encode(), "CLASS"),
    "class decorator": ((K + "@external\nclass Trial(Contract):\n" + RUN).encode(), "DECORATOR"),
    "field with a value": ((C + "    x: int = 5\n\n" + RUN).encode(), "DEFAULT"),
    "field of an unknown type": ((C + "    x: object\n\n" + RUN).encode(), "TYPE_HINT"),
    "field of Any": ((C + "    x: Any\n\n" + RUN).encode(), "TYPE_HINT"),
    "field of a callable type": ((C + "    x: type(1)\n\n" + RUN).encode(), "TYPE_HINT"),
    "float field": ((C + "    x: float\n\n" + RUN).encode(), "TYPE_HINT"),
    "set field": ((C + "    x: set[int]\n\n" + RUN).encode(), "TYPE_HINT"),
    "map keyed by a list": ((C + "    x: Map[list[int], int]\n\n" + RUN).encode(), "TYPE_HINT"),
    "forward hint as a text": ((C + "    x: 'int'\n\n" + RUN).encode(), "TYPE_HINT"),
    "property": ((C + "    @property\n    def run(self) -> int:\n        return 1\n").encode(), "DECORATOR"),
    "static method": ((C + "    @staticmethod\n    def run() -> int:\n        return 1\n").encode(), "DECORATOR"),
    "constructor": ((C + "    def __init__(self) -> None:\n        pass\n\n" + RUN).encode(), "UNDERSCORE"),
    "two markers": (
        (C + "    @external\n    @view\n    def run(self) -> int:\n        return 1\n").encode(),
        "DECORATOR",
    ),
    "two inits": (
        (
            C
            + "    @init\n    def a(self) -> None:\n        pass\n\n"
            + "    @init\n    def b(self) -> None:\n        pass\n\n"
            + RUN
        ).encode(),
        "DECORATOR",
    ),
    "method without self": ((C + "    @external\n    def run() -> int:\n        return 1\n").encode(), "SIGNATURE"),
    "method without a result": ((C + "    @external\n    def run(self):\n        return 1\n").encode(), "SIGNATURE"),
    "star parameters": (
        (C + "    @external\n    def run(self, *xs: int) -> int:\n        return 1\n").encode(),
        "SIGNATURE",
    ),
    "default that computes": (
        (C + "    @external\n    def run(self, x: int = 1 + 1) -> int:\n        return 1\n").encode(),
        "CONSTANT",
    ),
    "default that is shared": (
        (C + "    @external\n    def run(self, x: list[int] = []) -> int:\n        return 1\n").encode(),
        "CONSTANT",
    ),
    "generator method": ((C + "    @external\n    def run(self) -> int:\n        yield 1\n").encode(), "GENERATOR"),
    "async method": ((C + "    @external\n    async def run(self) -> int:\n        return 1\n").encode(), "ASYNC"),
    "type parameters": ((C + "    @external\n    def run[T](self) -> int:\n        return 1\n").encode(), "SYNTAX"),
    "class with type parameters": (
        (K + "class A[T](Struct):\n    x: int\n\n\n" + C[len(K) :] + RUN).encode(),
        "SYNTAX",
    ),
    "overlong UTF-8": ((C + RUN).encode() + b"#\xc0\xaf\n", "UTF8"),
    "half a character in UTF-8": ((C + RUN).encode() + b"#\xed\xa0\x80\n", "UTF8"),
    "UTF-16": ((C + RUN).encode("utf-16"), "UTF8"),
    "backslash at the end": ((C + RUN).encode() + b"\\", "CONTINUATION"),
    "marker that is called": (
        (C + "    @external()\n    def run(self) -> int:\n        return 1\n").encode(),
        "DECORATOR",
    ),
    "role that is computed": (
        (K.replace("require", "role, require") + C[len(K) :] + '    @external\n    @role(f"a")\n' + RUN[14:]).encode(),
        "CONSTANT",
    ),
    "parameter twice": (
        (C + "    @external\n    def run(self, a: int, a: int) -> int:\n        return 1\n").encode(),
        "SHADOW",
    ),
    "field with a method's name": ((C + "    run: int\n\n" + RUN).encode(), "SHADOW"),
    "more parameters than there are": (
        (
            C
            + "    @external\n    def run(self, "
            + ", ".join(f"a{n}: int" for n in range(200))
            + ") -> int:\n        return 1\n"
        ).encode(),
        "SIGNATURE",
    ),
    "six hundred functions": (
        (K + "".join(f"def f{n}() -> int:\n    return {n}\n\n\n" for n in range(600)) + C[len(K) :] + RUN).encode(),
        "FUNCTIONS",
    ),
    "name with an accent": (
        (C + "    @external\n    def rün(self) -> int:\n        return 1\n").encode(),
        "IDENTIFIER",
    ),
    "look-alike names": (
        (C + "    @external\n    def run(self) -> int:\n        \u0430 = 1\n        return \u0430\n").encode(),
        "IDENTIFIER",
    ),
    "method that shadows a builtin at module level": (
        (K + "def len(x: int) -> int:\n    return 1\n\n\nclass Trial(Contract):\n" + RUN).encode(),
        "SHADOW",
    ),
    "null byte": ((C + RUN).encode() + b"\x00", "CHARACTER"),
    "carriage returns": ((C + RUN).replace("\n", "\r\n").encode(), "CHARACTER"),
    "form feed": ((C + RUN).encode() + b"\x0c\n", "CHARACTER"),
    "right-to-left override": ((C + "    # \u202e\n" + RUN).encode(), "CHARACTER"),
    "byte order mark": (b"\xef\xbb\xbf" + (C + RUN).encode(), "CHARACTER"),
    "bytes that are not UTF-8": ((C + RUN).encode() + b"# \xff\n", "UTF8"),
    "lone surrogate by escape": (
        (C + '    @external\n    def run(self) -> int:\n        return len("\\ud800")\n').encode(),
        "TEXT_ESCAPE",
    ),
    "a megabyte of comment": ((C + RUN + "#" + "x" * 70_000 + "\n").encode(), "SOURCE_SIZE"),
    "deep blocks": (
        (
            C
            + "    @external\n    def run(self) -> int:\n"
            + "".join("    " * (i + 2) + "if True:\n" for i in range(20))
            + "    " * 22
            + "pass\n        return 1\n"
        ).encode(),
        "INDENTATION",
    ),
    "deep subscripts": (
        (
            C + "    @external\n    def run(self) -> int:\n        x = [1]\n        return x" + "[0]" * 60 + "\n"
        ).encode(),
        "TREE_DEPTH",
    ),
    "deep attributes": (
        (C + "    @external\n    def run(self) -> int:\n        return self" + ".a" * 60 + "\n").encode(),
        "TREE_DEPTH",
    ),
    "long text literal": (
        (C + '    @external\n    def run(self) -> int:\n        return len("' + "a" * 5_000 + '")\n').encode(),
        "TEXT_LITERAL",
    ),
    "line continuation": (
        (C + "    @external\n    def run(self) -> int:\n        return 1 + \\\n            1\n").encode(),
        "CONTINUATION",
    ),
    "tabs": ((C + "\t@external\n\tdef run(self) -> int:\n\t\treturn 1\n").encode(), "CHARACTER"),
    "unfinished bracket": ((C + "    @external\n    def run(self) -> int:\n        return (1\n").encode(), "SYNTAX"),
    "unfinished text": (
        (C + '    @external\n    def run(self) -> int:\n        return len("abc)\n').encode(),
        "SYNTAX",
    ),
    "f-string with a format": (
        (C + '    @external\n    def run(self) -> int:\n        return len(f"{1:>1000000000}")\n').encode(),
        "FORMAT",
    ),
    "number with underscores only": (
        (C + "    @external\n    def run(self) -> int:\n        return 1__0\n").encode(),
        "NUMBER",
    ),
    "complex number": ((C + "    @external\n    def run(self) -> int:\n        return 1j\n").encode(), "COMPLEX"),
    "event in an interface": ((K + "class I(Interface):\n    x: int\n\n\n" + C[len(K) :] + RUN).encode(), "INTERFACE"),
    "interface with a body": (
        (K + "class I(Interface):\n    def a(self) -> int:\n        return 1\n\n\n" + C[len(K) :] + RUN).encode(),
        "INTERFACE",
    ),
    "struct that holds itself": (
        (K + "class A(Struct):\n    a: list[A]\n\n\n" + C[len(K) :] + "    x: A\n\n" + RUN).encode(),
        "TYPE_HINT",
    ),
    "structs that hold each other": (
        (
            K + "class A(Struct):\n    b: B\n\n\nclass B(Struct):\n    a: A\n\n\n" + C[len(K) :] + "    x: A\n\n" + RUN
        ).encode(),
        "TYPE_HINT",
    ),
    "struct with a method": (
        (
            K + "class A(Struct):\n    x: int\n\n    def f(self) -> int:\n        return 1\n\n\n" + C[len(K) :] + RUN
        ).encode(),
        "FIELD",
    ),
    "struct as a trojan of many": (
        (
            K
            + "".join(
                f"class A{i}(Struct):\n    "
                + "\n    ".join(f"x{j}: {f'A{i - 1}' if i else 'int'}" for j in range(10))
                + "\n\n\n"
                for i in range(12)
            )
            + C[len(K) :]
            + "    x: A11\n\n"
            + RUN
        ).encode(),
        "TYPE_HINT",
    ),
    "import of everything": (b"from contracts import *\n\n\nclass Trial(Contract):\n" + RUN.encode(), "IMPORT"),
    "import under another name": (
        b"from contracts import Contract as C, external\n\n\nclass Trial(C):\n" + RUN.encode(),
        "IMPORT",
    ),
    "import of the engine": (b"from contracts.runtime import Runtime\n" + (C + RUN).encode(), "IMPORT"),
    "relative import": (b"from . import host\n" + (C + RUN).encode(), "IMPORT"),
    "import inside a method": (
        (C + "    @external\n    def run(self) -> int:\n        import os\n        return 1\n").encode(),
        "IMPORT",
    ),
}
