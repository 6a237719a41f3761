"""Print the lower bounds of setup.cfg as pip constraints: `Twisted[tls]>=25.5` becomes `Twisted==25.5`."""

import configparser

if __name__ == "__main__":
    setup = configparser.ConfigParser()
    setup.read("setup.cfg", encoding="utf-8")
    for requirement in setup["options"]["install_requires"].split():
        name, bound = requirement.split(">=")
        print(f"{name.partition('[')[0]}=={bound}")
