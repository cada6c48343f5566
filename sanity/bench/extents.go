package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool/loop"
	"github.com/loam-storage/loam/driver/volume"
)

const (
	fragmentBytes = 4 * volume.KiB // as a database leaves its image that writes single blocks
	fragmentSnaps = 8
)

// manyExtents takes snapshots of a volume that is mounted and written to, and whose image lies in a million pieces; and asks
// a pool with them for its room, also as the first thing after a restart.
func manyExtents(b *bench) (rows []row, err error) {
	machine, config := host.New(host.NewRunner()), loop.Config{Directory: filepath.Join(b.dir, "fs", "extents"), Create: true}
	p, err := loop.Open(b, "extents", nodeName, config, machine)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.Close(), os.RemoveAll(config.Directory)) }()
	id := func(name string) volume.ID { return volume.ID{Node: nodeName, Pool: "extents", Name: name} }
	size := volume.Size(b.extents) * fragmentBytes * 2
	if _, err := p.Create(b, volume.Spec{ID: id("v"), Size: volume.Range{RequiredBytes: size + volume.GiB}}); err != nil {
		return nil, err
	}
	mountPoint, err := b.fragment(machine, p, id("v"), filepath.Join(config.Directory, "volumes", "v", "image"))
	if err != nil {
		return nil, err
	}
	defer func() {
		err = errors.Join(err, machine.Unmount(b, mountPoint), os.Remove(mountPoint), p.Detach(b, id("v")))
	}()
	w, err := writeAway(filepath.Join(mountPoint, "written"))
	if err != nil {
		return nil, err
	}
	start := time.Now()
	_, err = p.CreateSnapshot(b, volume.SnapshotSpec{ID: id("s0"), Volumes: []volume.ID{id("v")}, MaxFreeze: time.Minute})
	took := time.Since(start)
	longest, writeErr := w.end()
	if err := errors.Join(err, writeErr); err != nil {
		return nil, err
	}
	const most = 10 * time.Second
	rows = append(rows, row{what: fmt.Sprintf("snapshot of %d extents, mounted: longest write meanwhile", b.extents), figure: fmt.Sprintf("%s (in all %s)", round(longest), round(took)), bound: "<= " + most.String(), met: longest <= most})
	for i := 1; i < fragmentSnaps; i++ {
		if _, err := p.CreateSnapshot(b, volume.SnapshotSpec{ID: id(fmt.Sprintf("s%d", i)), Volumes: []volume.ID{id("v")}, MaxFreeze: time.Minute}); err != nil {
			return nil, err
		}
	}
	if err := p.Close(); err != nil {
		return nil, err
	}
	if p, err = loop.Open(b, "extents", nodeName, config, machine); err != nil {
		return nil, err
	}
	room, err := askForRoom(b, p, id("small"))
	return append(rows, room...), err
}

// askForRoom asks how much room there is, and makes a small volume.
func askForRoom(b *bench, p *loop.Pool, small volume.ID) (rows []row, err error) {
	const most = 50 * time.Millisecond
	var all []time.Duration
	for range b.rounds {
		start := time.Now()
		if _, err := p.Status(b); err != nil {
			return nil, err
		}
		all = append(all, time.Since(start))
	}
	start := time.Now()
	_, err = p.Create(b, volume.Spec{ID: small, Size: volume.Range{RequiredBytes: volume.MiB}})
	made := time.Since(start)
	within := func(what string, took, bound time.Duration) row {
		return row{what: what, figure: round(took).String(), bound: "<= " + bound.String(), met: took <= bound}
	}
	return []row{
		within(fmt.Sprintf("room in a pool with it and %d snapshots, after a restart", fragmentSnaps), all[0], most),
		within("the same, again", median(all), most),
		within("a volume of 1 MiB made there", made, time.Second),
	}, err
}

// fragment makes an ext4 in a volume, writes single blocks where that has nothing, and mounts it.
func (b *bench) fragment(machine *host.Host, p *loop.Pool, id volume.ID, image string) (mountPoint string, err error) {
	device, err := p.Attach(b, id, false)
	if err != nil {
		return "", err
	}
	if _, err := command("mkfs.ext4", "-q", "-E", "nodiscard,lazy_itable_init=0", device); err != nil {
		return "", err
	}
	if err := p.Detach(b, id); err != nil {
		return "", err
	}
	if err := b.writeBlocks(image); err != nil {
		return "", err
	}
	if device, err = p.Attach(b, id, false); err != nil {
		return "", err
	}
	mountPoint = filepath.Join(b.dir, "extents-mounted")
	if err := os.Mkdir(mountPoint, 0o700); err != nil {
		return "", err
	}
	return mountPoint, machine.Mount(b, device, mountPoint, volume.Ext4, nil)
}

// writeBlocks writes every other block of an image, but for the parts of it in which something is written.
func (b *bench) writeBlocks(image string) error {
	const part = uint64(volume.MiB)
	written := map[uint64]bool{}
	err := host.Extents(image, func(e host.Extent) {
		for at := e.Logical / part; e.Written && at <= (e.Logical+e.Bytes)/part; at++ {
			written[at] = true
		}
	})
	if err != nil {
		return err
	}
	f, err := os.OpenFile(image, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	block := bytes.Repeat([]byte("loam"), int(fragmentBytes)/4)
	for at, n := uint64(0), 0; n < b.extents; at += 2 * uint64(fragmentBytes) {
		if written[at/part] {
			continue
		}
		if _, err := f.WriteAt(block, int64(at)); err != nil {
			return errors.Join(err, f.Close())
		}
		n++
	}
	return errors.Join(f.Sync(), f.Close())
}

// writer writes a block and syncs it, over and over, and remembers the longest time that this took.
type writer struct {
	stop chan struct{}
	done chan error
	most time.Duration
}

func writeAway(path string) (*writer, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	w := &writer{stop: make(chan struct{}), done: make(chan error)}
	go func() {
		block := make([]byte, fragmentBytes)
		for {
			select {
			case <-w.stop:
				w.done <- f.Close()
				return
			default:
			}
			start := time.Now()
			_, err := f.WriteAt(block, 0)
			if err = errors.Join(err, f.Sync()); err != nil {
				w.done <- errors.Join(err, f.Close())
				return
			}
			w.most = max(w.most, time.Since(start))
		}
	}()
	return w, nil
}

func (w *writer) end() (longest time.Duration, err error) {
	close(w.stop)
	err = <-w.done
	return w.most, err
}
