# SPDX-License-Identifier: Apache-2.0
"""NovaLink's REST server: sessions, partitions, and the changes of a VIOS document."""
