# SPDX-License-Identifier: GPL-2.0-or-later
"""device_watch.py: reports of a tiny guest on a device that it uses."""

import re

from tap import wait_until


class DeviceWatch:
    """The lines `TINY disk done=...`, or of another device."""

    def __init__(self, guest, device):
        self.guest = guest
        self.device = device
        self.figures = {}
        self.reports = 0

    def poll(self):
        """The newest figures; reads the console's file for itself."""
        with open(self.guest.console_log, encoding='utf-8') as log:
            # Not of a line that is not yet whole.
            found = re.findall(rf'^TINY {self.device} (done=.*)\n',
                               log.read(), re.M)
        self.reports = len(found)
        if found:
            self.figures = {name: int(value) for name, value in
                            re.findall(r'(\w+)=(\d+)', found[-1])}
        return self.figures

    def fresh(self):
        """Figures of after now."""
        self.poll()
        goal = self.reports + 2     # the next may have been made before
        wait_until(lambda: self.poll() and self.reports >= goal, 60,
                   f'{self.guest.name} reports')
        return self.figures
