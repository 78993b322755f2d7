# What the machine runs when it is up, and then it ends.
sh /t/root.sh 2>&1
until [ -S /run/user/1000/bus ]; do sleep 0.1; done
systemd-run -q --scope --slice=user-1000.slice --uid=1000 --gid=1000 sh /t/user.sh 2>&1
echo end=
