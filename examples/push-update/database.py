# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""A MariaDB of the example's own: its data in a directory of its own, no network port, gone when the example ends."""
import os
import pwd
import shutil
import subprocess
import time

import pymysql

HERE = os.path.dirname(os.path.abspath(__file__))
SERVER = "/usr/sbin/mariadbd"
INSTALL = "/usr/bin/mariadb-install-db"


class Database:
    def __init__(self, directory):
        if not os.path.exists(SERVER):
            raise RuntimeError("MariaDB is missing: apt-get install mariadb-server")
        self.dir = os.path.join(directory, "db")
        self.socket = os.path.join(self.dir, "socket")
        os.mkdir(self.dir, 0o755)
        data = os.path.join(self.dir, "data")
        user = []
        if os.getuid() == 0:
            # The server refuses to run as root; the package made a user for it.
            shutil.chown(self.dir, "mysql", pwd.getpwnam("mysql").pw_gid)
            user = ["--user=mysql"]
        self.log = open(os.path.join(directory, "mariadbd.log"), "ab")
        subprocess.run([INSTALL, "--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal", "--skip-test-db", *user],
                       stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT, check=True)
        self.proc = subprocess.Popen(
            [SERVER, "--no-defaults", f"--datadir={data}", f"--socket={self.socket}", "--skip-networking", "--innodb-buffer-pool-size=16M",
             f"--pid-file={self.dir}/pid", *user], stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT)
        self._wait()
        self._load()

    def _wait(self):
        end = time.monotonic() + 60
        while True:
            try:
                pymysql.connect(unix_socket=self.socket, user="root").close()
                return
            except pymysql.MySQLError:
                if self.proc.poll() is not None or time.monotonic() > end:
                    raise
            time.sleep(0.05)

    def _load(self):
        conn = pymysql.connect(unix_socket=self.socket, user="root", autocommit=True)
        with conn, conn.cursor() as cursor:
            cursor.execute("CREATE DATABASE site")
            cursor.execute("USE site")
            with open(os.path.join(HERE, "schema.sql"), encoding="utf-8") as f:
                for statement in f.read().split(";\n"):
                    if statement.strip():
                        cursor.execute(statement)

    def connect(self):
        # Each statement sees what is committed by then: a watcher that kept one snapshot would see nothing new.
        return pymysql.connect(unix_socket=self.socket, user="root", database="site", autocommit=True)

    def close(self):
        self.proc.terminate()
        self.proc.wait(30)
        self.log.close()
