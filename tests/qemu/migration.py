# SPDX-License-Identifier: GPL-2.0-or-later
"""migration.py: QEMU's migration commands, and waiting for what they do."""

from tap import check, wait_until

MIGRATION_SECONDS = 120


def set_up(guest, *capabilities, **parameters):
    """Migration capabilities, all on, and parameters."""
    if capabilities:
        guest.qmp.command('migrate-set-capabilities', capabilities=[
            {'capability': name, 'state': True} for name in capabilities])
    if parameters:
        guest.qmp.command('migrate-set-parameters', **parameters)


def status(guest):
    """The migration's state as this side sees it."""
    return guest.qmp.command('query-migrate').get('status', 'none')


def wait_status(guest, *wanted):
    """Waits for one of these states; any failure is an error."""
    def there():
        info = guest.qmp.command('query-migrate')
        check(info.get('status') not in ('failed', 'cancelled'),
              f'{guest.name}: {info}')
        return info.get('status') in wanted
    wait_until(there, MIGRATION_SECONDS, f'{guest.name} is {wanted}')


__all__ = ["MIGRATION_SECONDS", "set_up", "status", "wait_status"]
