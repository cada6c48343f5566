package main

import "github.com/loam-storage/loam/sanity/compat"

// pool is a pool to make.
type pool struct {
	name   string
	config string // with compat.Directory
	disk   string // size of the disk: of the VM's, or of the file with the file system that the pool is on
	fsType string // of that file system
	group  string // the volume group to make on the disk of the VM
	thin   bool   // there is a thin pool in it
}

const (
	nodeName = "n1"
	poolName = "fast"

	guestDisk = "/dev/vda" // of the VM
)

const prefix = "node: " + nodeName + "\npools:\n  - name: " + poolName + "\n    "

// pools are all kinds of pools.
var pools = []pool{
	{name: "loop-size", config: prefix + "loop: {directory: " + compat.Directory + "/pool, size: 1800Mi}\n"},
	{name: "loop-directory", config: prefix + "loop: {directory: " + compat.Directory + "/mnt/pool}\n", disk: "2200M", fsType: "ext4"},
	{name: "loop-sparse", config: prefix + "loop: {directory: " + compat.Directory + "/mnt/pool, allocation: sparse, overprovision: 2, reserve: 5%}\n", disk: "2G", fsType: "btrfs"},
	{name: "lvm-linear", config: prefix + "lvm: {volumeGroup: loamcompat}\n", disk: "2G", group: "loamcompat"},
	{name: "lvm-thin", config: prefix + "lvm: {volumeGroup: loamcompat, thinPool: tp, devices: [" + compat.Disk + "], overprovision: 4}\n", disk: "2G", group: "loamcompat", thin: true},
}

// thick reports whether a snapshot of the pool is a copy-on-write one, which keeps its volume from going and growing.
func (p pool) thick() bool { return p.group != "" && !p.thin }
