#!/bin/bash
# Unpack SLURM's daemons from Debian's packages into a folder, write a configuration of one node on
# loopback, and print what a shell must export to use it. Nothing is installed on the machine.
#
#   HILUM_TEST_SLURM=1 bash slurm_setup.sh FOLDER
#
# With slurmctld and slurmd installed already, those are used and nothing is downloaded.
set -euo pipefail
[ "${HILUM_TEST_SLURM:-}" = 1 ] || { echo "set HILUM_TEST_SLURM=1 to download SLURM" >&2; exit 3; }
folder=$(realpath -m "$1")
mkdir -p "$folder"/{packages,root,state,spool,log}

if ! command -v slurmctld >/dev/null || ! command -v slurmd >/dev/null; then
  if [ ! -x "$folder/root/usr/bin/sbatch" ]; then
    cd "$folder/packages"
    apt-get download slurmctld slurmd slurm-client slurm-wlm-basic-plugins libmunge2 libhwloc15 >&2
    for package in *.deb; do dpkg -x "$package" "$folder/root"; done
  fi
fi
plugins=$(find "$folder/root/usr/lib" /usr/lib -type d -name slurm-wlm 2>/dev/null | head -n 1)
libraries=$(dirname "$plugins")
controller=$(ls "$folder"/root/usr/sbin/slurmctld* 2>/dev/null || command -v slurmctld)
daemon=$(ls "$folder"/root/usr/sbin/slurmd-wlm 2>/dev/null || command -v slurmd)
stepper=$(ls "$folder"/root/usr/sbin/slurmstepd* 2>/dev/null || echo "")
first=$((20000 + RANDOM % 10000))

cat > "$folder/slurm.conf" <<CONF
ClusterName=loopback
SlurmctldHost=localhost(127.0.0.1)
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/none
CredType=cred/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
ReturnToService=2
SlurmctldPort=$first
SlurmdPort=$((first + 1))
PluginDir=$plugins
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/state/slurmctld.pid
SlurmdPidFile=$folder/state/slurmd.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd.log
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
KillWait=10
SchedulerParameters=sched_interval=2,bf_interval=2
NodeName=localhost NodeAddr=127.0.0.1 CPUs=2 RealMemory=1000 State=UNKNOWN
PartitionName=main Nodes=localhost Default=YES MaxTime=INFINITE State=UP OverSubscribe=YES
CONF

cat <<EXPORTS
SLURM_CONF=$folder/slurm.conf
LD_LIBRARY_PATH=$libraries:$plugins${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
PATH=$folder/root/usr/bin:$folder/root/usr/sbin:$PATH
CONTROLLER=$controller
DAEMON=$daemon
STEPPER=$stepper
EXPORTS
