from switchd.interfaces import SwitchPlugin

journal = SwitchPlugin("journal", b"journal", "journal:Journal")
