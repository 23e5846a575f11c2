"""Known answers for `ledger.keys.self_test`; made by tests/vectors/ledger/make_vectors.py, which explains each case."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureCase:
    """A signature and whether the network's verifier accepts it."""

    name: str
    public_key: bytes
    message: bytes
    r: bytes  # the first half of the signature
    s: bytes  # the second half
    holds: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SignerCase:
    """A seed and the one signature that it gives for a message."""

    name: str
    seed: bytes
    message: bytes
    r: bytes
    s: bytes


SIGNATURES: Final[tuple[SignatureCase, ...]] = (
    SignatureCase(
        name="RFC 8032 7.1 test 1",
        public_key=bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"),
        message=bytes.fromhex(""),
        r=bytes.fromhex("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"),
        s=bytes.fromhex("5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"),
        holds=True,
    ),
    SignatureCase(
        name="RFC 8032 7.1 test 2",
        public_key=bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"),
        message=bytes.fromhex("72"),
        r=bytes.fromhex("92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"),
        s=bytes.fromhex("085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"),
        holds=True,
    ),
    SignatureCase(
        name="low-order key 0",
        public_key=bytes.fromhex("0100000000000000000000000000000000000000000000000000000000000000"),
        message=bytes.fromhex("6772696471756f72756d203131"),
        r=bytes.fromhex("c4c1227d7fff941a976049ecefad7b663fa5121d769cbbd79a53d344e4773e98"),
        s=bytes.fromhex("efcdab9078563412000000000000000000000000000000000000000000000000"),
        holds=False,
    ),
    SignatureCase(
        name="low-order key 1",
        public_key=bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
        message=bytes.fromhex("6772696471756f72756d2032"),
        r=bytes.fromhex("c4c1227d7fff941a976049ecefad7b663fa5121d769cbbd79a53d344e4773e98"),
        s=bytes.fromhex("efcdab9078563412000000000000000000000000000000000000000000000000"),
        holds=False,
    ),
    SignatureCase(
        name="low-order key 2",
        public_key=bytes.fromhex("0000000000000000000000000000000000000000000000000000000000000080"),
        message=bytes.fromhex("6772696471756f72756d203137"),
        r=bytes.fromhex("c4c1227d7fff941a976049ecefad7b663fa5121d769cbbd79a53d344e4773e98"),
        s=bytes.fromhex("efcdab9078563412000000000000000000000000000000000000000000000000"),
        holds=False,
    ),
    SignatureCase(
        name="low-order key 3",
        public_key=bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
        message=bytes.fromhex("6772696471756f72756d2034"),
        r=bytes.fromhex("c4c1227d7fff941a976049ecefad7b663fa5121d769cbbd79a53d344e4773e98"),
        s=bytes.fromhex("efcdab9078563412000000000000000000000000000000000000000000000000"),
        holds=False,
    ),
    SignatureCase(
        name="low-order key 4",
        public_key=bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
        message=bytes.fromhex("6772696471756f72756d2031"),
        r=bytes.fromhex("c4c1227d7fff941a976049ecefad7b663fa5121d769cbbd79a53d344e4773e98"),
        s=bytes.fromhex("efcdab9078563412000000000000000000000000000000000000000000000000"),
        holds=False,
    ),
    SignatureCase(
        name="low-order key 5",
        public_key=bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85"),
        message=bytes.fromhex("6772696471756f72756d2038"),
        r=bytes.fromhex("c4c1227d7fff941a976049ecefad7b663fa5121d769cbbd79a53d344e4773e98"),
        s=bytes.fromhex("efcdab9078563412000000000000000000000000000000000000000000000000"),
        holds=False,
    ),
    SignatureCase(
        name="low-order key 6",
        public_key=bytes.fromhex("0000000000000000000000000000000000000000000000000000000000000000"),
        message=bytes.fromhex("6772696471756f72756d203138"),
        r=bytes.fromhex("c4c1227d7fff941a976049ecefad7b663fa5121d769cbbd79a53d344e4773e98"),
        s=bytes.fromhex("efcdab9078563412000000000000000000000000000000000000000000000000"),
        holds=False,
    ),
    SignatureCase(
        name="low-order key 7",
        public_key=bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa"),
        message=bytes.fromhex("6772696471756f72756d2033"),
        r=bytes.fromhex("c4c1227d7fff941a976049ecefad7b663fa5121d769cbbd79a53d344e4773e98"),
        s=bytes.fromhex("efcdab9078563412000000000000000000000000000000000000000000000000"),
        holds=False,
    ),
    SignatureCase(
        name="non-canonical key: identity with sign",
        public_key=bytes.fromhex("0100000000000000000000000000000000000000000000000000000000000080"),
        message=bytes.fromhex("6772696471756f72756d2034"),
        r=bytes.fromhex("c4c1227d7fff941a976049ecefad7b663fa5121d769cbbd79a53d344e4773e98"),
        s=bytes.fromhex("efcdab9078563412000000000000000000000000000000000000000000000000"),
        holds=False,
    ),
    SignatureCase(
        name="non-canonical key: y = p",
        public_key=bytes.fromhex("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
        message=bytes.fromhex("6772696471756f72756d203332"),
        r=bytes.fromhex("c4c1227d7fff941a976049ecefad7b663fa5121d769cbbd79a53d344e4773e98"),
        s=bytes.fromhex("efcdab9078563412000000000000000000000000000000000000000000000000"),
        holds=False,
    ),
    SignatureCase(
        name="non-canonical key: y = p + 1",
        public_key=bytes.fromhex("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
        message=bytes.fromhex("6772696471756f72756d2031"),
        r=bytes.fromhex("c4c1227d7fff941a976049ecefad7b663fa5121d769cbbd79a53d344e4773e98"),
        s=bytes.fromhex("efcdab9078563412000000000000000000000000000000000000000000000000"),
        holds=False,
    ),
    SignatureCase(
        name="non-canonical key: order 2 with sign",
        public_key=bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"),
        message=bytes.fromhex("6772696471756f72756d203239"),
        r=bytes.fromhex("c4c1227d7fff941a976049ecefad7b663fa5121d769cbbd79a53d344e4773e98"),
        s=bytes.fromhex("efcdab9078563412000000000000000000000000000000000000000000000000"),
        holds=False,
    ),
    SignatureCase(
        name="mixed-order key, cofactored equation only",
        public_key=bytes.fromhex("1afa59910ac4030e3e33736e2c3d79ef2aee3c2b83631a7c6efed20c855e7912"),
        message=bytes.fromhex("6772696471756f72756d2030"),
        r=bytes.fromhex("c4c1227d7fff941a976049ecefad7b663fa5121d769cbbd79a53d344e4773e98"),
        s=bytes.fromhex("d41eeb8a0ca8c17c818e5355aa74ecacd4f02da562e1c5c051265c5ffef5fb06"),
        holds=False,
    ),
    SignatureCase(
        name="mixed-order key, both equations",
        public_key=bytes.fromhex("1afa59910ac4030e3e33736e2c3d79ef2aee3c2b83631a7c6efed20c855e7912"),
        message=bytes.fromhex("6772696471756f72756d203236"),
        r=bytes.fromhex("c4c1227d7fff941a976049ecefad7b663fa5121d769cbbd79a53d344e4773e98"),
        s=bytes.fromhex("ff150071caa806e4c56f3f6a4d19e2a5e4db4f2652df4396cceabe0c004b0d05"),
        holds=True,
    ),
    SignatureCase(
        name="mixed-order R, cofactored equation only",
        public_key=bytes.fromhex("30e85ebefde271e198fc36104297be23a0e183384c9f6bbabed61de892c18b41"),
        message=bytes.fromhex("6d697865642052"),
        r=bytes.fromhex("c2ecc2af9bfefd06ee0f9cbb9adf4abda71f6a01db3f1a78458754856f6bd5c4"),
        s=bytes.fromhex("53c5104890e5039148f2b4249cc720d2fd5bf9ada2f1bad91c7ba3b761697f09"),
        holds=False,
    ),
    SignatureCase(
        name="R is the identity",
        public_key=bytes.fromhex("30e85ebefde271e198fc36104297be23a0e183384c9f6bbabed61de892c18b41"),
        message=bytes.fromhex("6964656e746974792052"),
        r=bytes.fromhex("0100000000000000000000000000000000000000000000000000000000000000"),
        s=bytes.fromhex("13f6eb7b3e5744a1c327f4f0d1a365098be424e6d9b752bfd00db8c21b4bd506"),
        holds=False,
    ),
    SignatureCase(
        name="honest",
        public_key=bytes.fromhex("30e85ebefde271e198fc36104297be23a0e183384c9f6bbabed61de892c18b41"),
        message=bytes.fromhex("7363616c6172"),
        r=bytes.fromhex("c4c1227d7fff941a976049ecefad7b663fa5121d769cbbd79a53d344e4773e98"),
        s=bytes.fromhex("7f46e1665a21fae002edb1152801fcb90aa101880d461ca38d0297d44e20eb05"),
        holds=True,
    ),
    SignatureCase(
        name="S + L",
        public_key=bytes.fromhex("30e85ebefde271e198fc36104297be23a0e183384c9f6bbabed61de892c18b41"),
        message=bytes.fromhex("7363616c6172"),
        r=bytes.fromhex("c4c1227d7fff941a976049ecefad7b663fa5121d769cbbd79a53d344e4773e98"),
        s=bytes.fromhex("6c1ad7c374840c39d989a9b806fbdace0aa101880d461ca38d0297d44e20eb15"),
        holds=False,
    ),
    SignatureCase(
        name="another message",
        public_key=bytes.fromhex("30e85ebefde271e198fc36104297be23a0e183384c9f6bbabed61de892c18b41"),
        message=bytes.fromhex("7363616c6152"),
        r=bytes.fromhex("c4c1227d7fff941a976049ecefad7b663fa5121d769cbbd79a53d344e4773e98"),
        s=bytes.fromhex("7f46e1665a21fae002edb1152801fcb90aa101880d461ca38d0297d44e20eb05"),
        holds=False,
    ),
    SignatureCase(
        name="sign of R flipped",
        public_key=bytes.fromhex("30e85ebefde271e198fc36104297be23a0e183384c9f6bbabed61de892c18b41"),
        message=bytes.fromhex("7363616c6172"),
        r=bytes.fromhex("c4c1227d7fff941a976049ecefad7b663fa5121d769cbbd79a53d344e4773e18"),
        s=bytes.fromhex("7f46e1665a21fae002edb1152801fcb90aa101880d461ca38d0297d44e20eb05"),
        holds=False,
    ),
    SignatureCase(
        name="key is not a point",
        public_key=bytes.fromhex("0200000000000000000000000000000000000000000000000000000000000000"),
        message=bytes.fromhex("7363616c6172"),
        r=bytes.fromhex("c4c1227d7fff941a976049ecefad7b663fa5121d769cbbd79a53d344e4773e98"),
        s=bytes.fromhex("7f46e1665a21fae002edb1152801fcb90aa101880d461ca38d0297d44e20eb05"),
        holds=False,
    ),
)

SIGNERS: Final[tuple[SignerCase, ...]] = (
    SignerCase(
        name="RFC 8032 7.1 test 1",
        seed=bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"),
        message=bytes.fromhex(""),
        r=bytes.fromhex("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"),
        s=bytes.fromhex("5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"),
    ),
    SignerCase(
        name="RFC 8032 7.1 test 2",
        seed=bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"),
        message=bytes.fromhex("72"),
        r=bytes.fromhex("92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"),
        s=bytes.fromhex("085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"),
    ),
)

TAGGED_HASHES: Final[tuple[tuple[str, bytes], ...]] = (
    ("TRANSACTION_ID", bytes.fromhex("870aaba566ab3ccea1cf6cb56c8689895a7ff657f08b9dc3505c2cfa2e0affc5")),
    ("BATCH", bytes.fromhex("9134ffb52513b34839ce00e4c227d6dd79174e875e3bdf737074173119f3946f")),
    ("RECEIPTS", bytes.fromhex("5d46b50678f73c6af958b1e5e60cdb2c3f5be61c75ddd16d403e6ba1d3486933")),
    ("NULL_BATCH", bytes.fromhex("9f62564c58ff47ef5d63d23d8fbdacd4039d8d9cb78a549465ed73011b363916")),
    ("HEADER", bytes.fromhex("8bd1c6a12bc608caf9be1dd626a6393ff5ccb5c3b8417675a12cddf036eb56d3")),
    ("STATE_LEAF", bytes.fromhex("028ed5649d4455072f124e2be3efcdd5d1d2bb4b79f2998b128c72d59762ca93")),
    ("STATE_NODE", bytes.fromhex("5d7048e73eb1d445937750d361122339437822e49b83236d8c60a45363714a43")),
    ("STATE_KEY", bytes.fromhex("f857aa14c4a52f146c7fa330064389c51ac881be15d53698064a52f67472caeb")),
    ("CONFIGURATION", bytes.fromhex("f297c726d26210326ebe681c017d71b819a87f81392b65ecd541050afe0345d9")),
    ("CONTRACT_ADDRESS", bytes.fromhex("08a7f04933a819b28d6d2a87f02574d8b3335f3ff994d7984011f2a9f536ee3d")),
    ("CONTRACT_TREE", bytes.fromhex("3886adb484ec5000f7327b038a13297f954b942326d3b531d457b336c93f021c")),
    ("SCHEDULED_CALL", bytes.fromhex("0eb2c70944dab1b98d30b5c063d22144ee5389cfa1b62f91df08da3fa8d86813")),
    ("COMMITMENT", bytes.fromhex("5ddf332eb6ee2617a4cd0998555e0c69c8c2502f14f668b386fdf8c0b902da9f")),
    ("PAYLOAD_ROOT_KEY", bytes.fromhex("30dd5c530094609e2fb2fc6f3fa7e30522d7e8fc547de3616d841466e49af87d")),
    ("PAYLOAD_KEY_FILE", bytes.fromhex("3cb8c08bd220a1f28ccd4cb21e43693ccfbd82b399688b9cddda610793d6eb04")),
    ("READING", bytes.fromhex("66919d944656b8c76bb4fdc5faf0c4eb6f200a1382d5c3a9778bf1b1d71c1fc7")),
    ("READINGS", bytes.fromhex("689fa746a0b936d3c41f01c661fd9adfc76c9459de4933ba4e1ca0d1f263b10a")),
    ("SIGN_TRANSACTION", bytes.fromhex("3b73f5aa81473c4419121870a9831899618d0ca64f6a5d13abf26e56fb68a332")),
    ("SIGN_MESSAGE", bytes.fromhex("5777db0fe7ddb4d360c455cb89de00968ad78c404ed95a87cf7dd4852d4c2095")),
    ("SIGN_HEADER_VOTE", bytes.fromhex("9a5c3048a27ef54c0e221ede71518e6d7f1b5520e01763bf64543a96c0de1f90")),
    ("SIGN_METER_CERTIFICATE", bytes.fromhex("2b51cc3fc470def91fdb859b89528ce2d8d40330619c116f3e4c2705b94dd1f0")),
)

ENCODINGS: Final[tuple[tuple[object, bytes], ...]] = (
    (18446744073709551615, bytes.fromhex("cfffffffffffffffff")),
    (18446744073709551616, bytes.fromhex("c70901010000000000000000")),
    (-170141183460469231731687303715884105729, bytes.fromhex("c71101ff7fffffffffffffffffffffffffffffff")),
    ("Zähler", bytes.fromhex("a75ac3a4686c6572")),
    (b"\x00", bytes.fromhex("c40100")),
    ([None, True], bytes.fromhex("92c0c3")),
    ({"a": 1, "ä": 2}, bytes.fromhex("82a16101a2c3a402")),
    ({-1: 0, 300: 0}, bytes.fromhex("82ff00cd012c00")),
)

REFUSED_ENCODINGS: Final[tuple[tuple[str, bytes], ...]] = (
    ("nothing", bytes.fromhex("")),
    ("trailing byte", bytes.fromhex("c000")),
    ("uint8 below 128", bytes.fromhex("cc7f")),
    ("uint16 below 256", bytes.fromhex("cd00ff")),
    ("uint32 below 65536", bytes.fromhex("ce0000ffff")),
    ("uint64 below 2^32", bytes.fromhex("cf00000000ffffffff")),
    ("int8 for a small negative", bytes.fromhex("d0e0")),
    ("int8 for a positive", bytes.fromhex("d001")),
    ("int64 for a positive", bytes.fromhex("d30000000100000000")),
    ("float32", bytes.fromhex("ca00000000")),
    ("float64", bytes.fromhex("cb0000000000000000")),
    ("unused byte", bytes.fromhex("c1")),
    ("timestamp", bytes.fromhex("d6ff00000000")),
    ("extension of another type", bytes.fromhex("c70902010000000000000000")),
    ("big integer that fits 64 bits", bytes.fromhex("c7090100ffffffffffffffff")),
    ("big integer with a needless sign byte", bytes.fromhex("c70a0100010000000000000000")),
    ("big integer as ext8 of 16 bytes", bytes.fromhex("c7100101000000000000000000000000000000")),
    ("33-byte big integer", bytes.fromhex("c72101010000000000000000000000000000000000000000000000000000000000000000")),
    ("str8 for a short string", bytes.fromhex("d90161")),
    ("surrogate", bytes.fromhex("a3eda080")),
    ("overlong UTF-8", bytes.fromhex("a2c0af")),
    ("cut string", bytes.fromhex("a26f")),
    ("bin16 for short bytes", bytes.fromhex("c5000100")),
    ("cut bytes", bytes.fromhex("c40200")),
    ("array16 for a short array", bytes.fromhex("dc000100")),
    ("cut array", bytes.fromhex("9200")),
    ("huge array", bytes.fromhex("ddffffffff")),
    ("map out of order", bytes.fromhex("82a16201a16102")),
    ("map with a key twice", bytes.fromhex("82a16101a16102")),
    ("map with two kinds of key", bytes.fromhex("820001a16102")),
    ("map with a boolean key", bytes.fromhex("81c301")),
    ("map with an array key", bytes.fromhex("819001")),
    ("map16 for a short map", bytes.fromhex("de00010001")),
    ("seventeen arrays deep", bytes.fromhex("9191919191919191919191919191919190")),
)
