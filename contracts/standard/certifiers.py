"""Organisations of electricians, and the keys they vouch for.

An organisation is a member with the role `certifier`, admitted by vote. It lists its electricians itself. A key is
listed from one moment and up to another, so that a certificate is judged by the list of its day: leaving an
organisation does not undo the meters that an electrician certified before.
"""

from contracts import Address, Contract, Event, Interface, Map, Struct, ctx, emit, external, init, require, role, view

BATCH_MAX = 200  # keys of one call


class IMembers(Interface):
    def has_role(self, address: Address, role_name: str) -> bool: ...


class Electrician(Struct):
    organisation: Address
    since: int
    until: int  # 0: listed still


class Listed(Event):
    key: Address
    organisation: Address


class Unlisted(Event):
    key: Address
    organisation: Address


class Certifiers(Contract):
    members: Address
    electricians: Map[Address, Electrician]

    @init
    def setup(self, members: Address) -> None:
        self.members = members

    @external
    @role("certifier")
    def add_electricians(self, keys: list[Address]) -> None:
        """List keys from now on. A key that was unlisted stays so: a returning electrician brings a new one."""
        require(len(keys) > 0 and len(keys) <= BATCH_MAX, "BATCH_SIZE")
        for key in keys:
            require(key not in self.electricians, "KEY_TAKEN")
            self.electricians[key] = Electrician(ctx.sender, ctx.time, 0)
            emit(Listed(key, ctx.sender))

    @external
    @role("certifier")
    def remove_electrician(self, key: Address) -> None:
        require(key in self.electricians, "NOT_LISTED")
        entry = self.electricians[key]
        require(entry.organisation == ctx.sender, "FOREIGN_ORGANISATION")
        require(entry.until == 0, "NOT_LISTED")
        self.electricians[key] = Electrician(entry.organisation, entry.since, ctx.time)
        emit(Unlisted(key, ctx.sender))

    @view
    def is_listed(self, key: Address, at: int) -> bool:
        """True when the key was listed at that time by an organisation that is trusted today."""
        if key not in self.electricians:
            return False
        entry = self.electricians[key]
        if at < entry.since or (entry.until != 0 and at >= entry.until):
            return False
        return IMembers(self.members).has_role(entry.organisation, "certifier")

    @view
    def electrician(self, key: Address) -> Electrician:
        require(key in self.electricians, "NOT_LISTED")
        return self.electricians[key]
