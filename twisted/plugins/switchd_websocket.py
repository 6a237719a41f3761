"""WebSocket, as `twisted.plugin` finds it: a light declaration that names its module as a string."""

from switchd.interfaces import SwitchPlugin

websocket = SwitchPlugin("websocket", b"websocket", "switchd.protocols.websocket.switch:WebSocket")
