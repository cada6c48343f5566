package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/volume"
	"github.com/loam-storage/loam/sanity/scratch"
)

const lvmFioBytes = 512 * volume.MiB

// fio compares a linear volume with the same bytes of the disk that it is on, and with a logical volume that lvcreate made:
// what the volume has less than the disk and not less than that one is the price of device-mapper, which is high on an
// emulated processor.
func (b *lvmBench) fio() (rows []row, err error) {
	if b.layout.name != "linear" {
		return nil, nil // it does not lie in one piece on one disk
	}
	if _, err := b.create("fio", lvmFioBytes, blockAccess(), nil); err != nil {
		return nil, err
	}
	handle := handleOf("fio")
	_, err = b.controller.ControllerPublishVolume(b, &csi.ControllerPublishVolumeRequest{VolumeId: handle, NodeId: nodeName, VolumeCapability: blockAccess()})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.detach(handle), b.delete(handle)) }()
	v, err := b.pool.Get(b, volume.ID{Node: nodeName, Pool: poolName, Name: "fio"})
	if err != nil {
		return nil, err
	}
	offset, err := b.offsetOf("loam." + poolName + ".v.fio")
	if err != nil {
		return nil, err
	}
	if err := fill(v.Device, lvmFioBytes); err != nil {
		return nil, err
	}
	bare := groupName + "/barefio"
	if _, err := scratch.LVM("lvcreate", "--yes", "--zero", "n", "--wipesignatures", "n", "--size", fmt.Sprintf("%db", lvmFioBytes), "--name", "barefio", groupName); err != nil {
		return nil, err
	}
	defer func() {
		_, removeErr := scratch.LVM("lvremove", "--force", bare)
		err = errors.Join(err, removeErr)
	}()
	if err := fill("/dev/"+bare, lvmFioBytes); err != nil {
		return nil, err
	}
	size := fmt.Sprintf("--size=%d", lvmFioBytes)
	sides := [][]string{{"--filename=" + v.Device, size}, {"--filename=" + b.disk, size, fmt.Sprintf("--offset=%d", offset)}, {"--filename=/dev/" + bare, size}}
	for _, j := range jobs {
		got := make([][]float64, len(sides))
		for round := range 2*fioRounds + 1 {
			for i := range sides {
				side := (i + round) % len(sides) // none is always the first
				bytes, err := b.fioOn(sides[side], j.rw, j.block, j.depth)
				if err != nil {
					return nil, err
				}
				got[side] = append(got[side], bytes)
			}
		}
		for i, against := range []string{"raw disk", "bare logical volume"} {
			ours, theirs := middle(got[0]), middle(got[i+1])
			rows = append(rows, row{
				what: "fio, linear volume / " + against + ": " + j.name, bound: ">= 0.99", met: ours/theirs >= 0.99,
				figure: fmt.Sprintf("%.2f (%.1f / %.1f MB/s)", ours/theirs, ours/1e6, theirs/1e6),
			})
		}
	}
	return rows, nil
}

// offsetOf returns where on the disk a logical volume begins, which lies in one piece.
func (b *lvmBench) offsetOf(name string) (int64, error) {
	text, err := scratch.LVM("lvs", "--noheadings", "--nosuffix", "--units", "b", "-o", "seg_pe_ranges,vg_extent_size", groupName+"/"+name)
	if err != nil {
		return 0, err
	}
	start, err := scratch.LVM("pvs", "--noheadings", "--nosuffix", "--units", "b", "-o", "pe_start", b.disk)
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(text)
	if len(fields) != 2 {
		return 0, fmt.Errorf("logical volume %s lies at %q, and not in one piece", name, text)
	}
	extents, _, _ := strings.Cut(fields[0][strings.LastIndex(fields[0], ":")+1:], "-")
	first, firstErr := strconv.ParseInt(extents, 10, 64)
	extent, extentErr := strconv.ParseInt(fields[1], 10, 64)
	begin, beginErr := strconv.ParseInt(start, 10, 64)
	return begin + first*extent, errors.Join(firstErr, extentErr, beginErr)
}
