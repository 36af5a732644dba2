"""The bank: what is stored, and what must be true of it at any time."""

import persistent
import persistent.mapping
from BTrees.LOBTree import LOBTree
from BTrees.OOBTree import OOBTree
from BTrees.OOBTree import OOTreeSet
from ZODB.blob import Blob

OPENING_BALANCE = 1000


class Account(persistent.Persistent):
    """Money, and the number of transfers that changed it."""

    def __init__(self, name):
        self.name = name
        self.balance = OPENING_BALANCE
        self.changes = 0

    def add(self, amount):
        self.balance += amount
        self.changes += 1


class Transfer(persistent.Persistent):
    """A line of the journal; some have a receipt, which is a blob."""

    def __init__(self, number, source, target, amount, receipt=None):
        self.number = number
        self.source = source
        self.target = target
        self.amount = amount
        self.receipt = receipt


def make_bank(root, accounts):
    bank = root["bank"] = persistent.mapping.PersistentMapping()
    bank["accounts"] = OOBTree()
    # Index: (balance, name), so that every transfer takes two keys out and puts two in.
    bank["by_balance"] = OOTreeSet()
    bank["journal"] = LOBTree()
    for number in range(accounts):
        account = Account(f"account-{number:04}")
        bank["accounts"][account.name] = account
        bank["by_balance"].insert((account.balance, account.name))


def move(bank, number, source, target, amount, receipt_text=None):
    """One transfer, in the current transaction."""
    for name, change in ((source, -amount), (target, amount)):
        account = bank["accounts"][name]
        bank["by_balance"].remove((account.balance, name))
        account.add(change)
        bank["by_balance"].insert((account.balance, name))
    receipt = None
    if receipt_text is not None:
        receipt = Blob()
        with receipt.open("w") as file:
            file.write(receipt_text)
    bank["journal"][number] = Transfer(number, source, target, amount, receipt)


def receipt_text(number, source, target, amount):
    """From nothing to some hundred kilobytes: a blob of no bytes is a blob, too."""
    line = f"{number} {source} {target} {amount}\n".encode()
    return line * (number * 7919 % 5000 if number % 3 else 0)


class Unbalanced(Exception):
    """Something that must be true is not."""


def audit(bank, acknowledged=(), read_receipts=True):
    """Raises `Unbalanced`; `acknowledged` are the numbers of transfers that must be there."""
    accounts = bank["accounts"]
    balances = {name: OPENING_BALANCE for name in accounts}
    changes = dict.fromkeys(accounts, 0)
    receipts = 0
    for number, transfer in bank["journal"].items():
        must(number == transfer.number, f"transfer {transfer.number} is filed as {number}")
        balances[transfer.source] -= transfer.amount
        balances[transfer.target] += transfer.amount
        changes[transfer.source] += 1
        changes[transfer.target] += 1
        if transfer.receipt is not None and read_receipts:
            receipts += 1
            wanted = receipt_text(number, transfer.source, transfer.target, transfer.amount)
            with transfer.receipt.open("r") as file:
                must(file.read() == wanted, f"the receipt of transfer {number} is not as written")
    for name, account in accounts.items():
        must(account.balance == balances[name], f"{name} has {account.balance}, not {balances[name]}")
        must(account.changes == changes[name], f"{name} changed {account.changes} times, not {changes[name]}")
    index = {(account.balance, name) for name, account in accounts.items()}
    must(set(bank["by_balance"]) == index, "the index by balance is not that of the accounts")
    must(sum(balances.values()) == OPENING_BALANCE * len(balances), "money was made or lost")
    lost = [number for number in acknowledged if number not in bank["journal"]]
    must(not lost, f"{len(lost)} transfers were committed and are gone, the first one {lost[:1]}")
    return {"transfers": len(bank["journal"]), "receipts": receipts}


def must(condition, otherwise):
    if not condition:
        raise Unbalanced(otherwise)
