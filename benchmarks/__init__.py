# SPDX-License-Identifier: Apache-2.0
"""What attaching and detaching cost, next to the other ways to do it.

``python -m benchmarks`` measures against the simulator, which runs in a process of its own, as
every client does. Each question is a module; ``benchmarks.questions`` lists them.
"""
