# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""What the tests of whole servers share: bodies that can be checked, an origin, the daemon, a client."""
