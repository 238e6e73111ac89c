#!/bin/bash
# Unpack SLURM's daemons from Debian's packages into a folder, write a configuration of one node on
# loopback, and print what a shell must export to use it. Nothing is installed on the machine.
#
#   bash slurm_setup.sh FOLDER [PACKAGES]
#
# PACKAGES keeps the downloads (3 MB) for the next time. With slurmctld and slurmd installed
# already, those are used and nothing is downloaded. HILUM_TEST_SLURM=0 forbids it all.
set -euo pipefail
[ "${HILUM_TEST_SLURM:-1}" != 0 ] || { echo "HILUM_TEST_SLURM=0" >&2; exit 3; }
folder=$(realpath -m "$1")
packages=$(realpath -m "${2:-$folder/packages}")
names="slurmctld slurmd slurm-client slurm-wlm-basic-plugins libmunge2 libhwloc15"
mkdir -p "$folder"/{root,state,spool,log} "$packages"

download() {
  timeout 60 apt-get -q -o Acquire::Retries=0 -o Acquire::http::Timeout=10 "$@" download $names >&2
}

if ! command -v slurmctld >/dev/null || ! command -v slurmd >/dev/null; then
  command -v apt-get >/dev/null || { echo "no apt-get here" >&2; exit 3; }
  if [ ! -e "$packages/complete" ]; then
    # Beside the place where they are looked for: another worker may be doing the same.
    part=$(mktemp -d "$packages/part-XXXXXX")
    cd "$part"
    if ! download; then # the machine's lists of packages are absent or old
      lists=(-o "Dir::State::Lists=$part/lists" -o "Dir::Cache=$part/cache")
      mkdir -p lists/partial cache/archives/partial
      timeout 60 apt-get -q -o Acquire::Retries=0 "${lists[@]}" update >&2
      download "${lists[@]}"
    fi
    mv -f ./*.deb "$packages"/
    cd "$folder"
    rm -rf "$part"
    touch "$packages/complete"
  fi
  for package in "$packages"/*.deb; do dpkg -x "$package" "$folder/root"; done
fi
plugins=$(find "$folder/root/usr/lib" /usr/lib -type d -name slurm-wlm 2>/dev/null | head -n 1)
libraries=$(dirname "$plugins")
controller=$(ls "$folder"/root/usr/sbin/slurmctld* 2>/dev/null || command -v slurmctld)
daemon=$(ls "$folder"/root/usr/sbin/slurmd-wlm 2>/dev/null || command -v slurmd)
stepper=$(ls "$folder"/root/usr/sbin/slurmstepd* 2>/dev/null || echo "")
first=$((20000 + RANDOM % 10000))

# cred_expire is also how long a job waits after `scontrol requeue`: else two minutes.
# config_overrides: two processors, whatever the machine has.
cat > "$folder/slurm.conf" <<CONF
ClusterName=loopback
SlurmctldHost=localhost(127.0.0.1)
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/none
AuthInfo=cred_expire=5
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
SlurmdParameters=config_overrides
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
KillWait=10
SchedulerParameters=sched_interval=1,bf_interval=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=localhost NodeAddr=127.0.0.1 CPUs=2 RealMemory=1000 State=UNKNOWN
PartitionName=main Nodes=localhost Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes=localhost MaxTime=INFINITE State=UP PriorityTier=9
CONF

cat <<EXPORTS
SLURM_CONF=$folder/slurm.conf
LD_LIBRARY_PATH=$libraries:$plugins${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
PATH=$folder/root/usr/bin:$folder/root/usr/sbin:$PATH
CONTROLLER=$controller
DAEMON=$daemon
STEPPER=$stepper
EXPORTS
