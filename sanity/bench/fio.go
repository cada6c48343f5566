package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/loam-storage/loam/driver/volume"
)

const (
	fioBytes  = 1 * volume.GiB   // of the file that fio works on
	fioVolume = fioBytes * 5 / 4 // with room for the file system
	fioRounds = 3
)

// jobs are the ways to read and write.
var jobs = []struct {
	name  string
	rw    string
	block string
	depth int
}{
	{"4k random read, depth 1", "randread", "4k", 1},
	{"4k random read, depth 32", "randread", "4k", 32},
	{"4k random write, depth 1", "randwrite", "4k", 1},
	{"4k random write, depth 32", "randwrite", "4k", 32},
	{"1M sequential read", "read", "1M", 4},
	{"1M sequential write", "write", "1M", 4},
}

// fio compares a published volume with a bare loop device on an equally filled file, and says beside
// it how the file itself does.
func fio(b *bench) (rows []row, err error) {
	published, undo, err := b.published("fio", fioVolume)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, undo()) }()
	bare, undoBare, err := b.bareMount()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, undoBare(), b.clearBare()) }()
	sides := []string{filepath.Join(published, "data"), filepath.Join(bare, "data"), filepath.Join(b.bare, "raw")}
	for _, file := range sides {
		if err := fillFile(file); err != nil {
			return nil, err
		}
	}
	for _, j := range jobs {
		bytes := make([][]float64, len(sides))
		for round := range fioRounds {
			for i := range sides {
				side := (i + round) % len(sides) // none is always the first
				got, err := b.fioOnce(sides[side], j.rw, j.block, j.depth)
				if err != nil {
					return nil, err
				}
				bytes[side] = append(bytes[side], got)
			}
		}
		ours, theirs, raw := middle(bytes[0]), middle(bytes[1]), middle(bytes[2])
		rows = append(rows, row{
			what: "fio, volume / bare loop device: " + j.name, bound: ">= 0.97", met: ours/theirs >= 0.97,
			figure: fmt.Sprintf("%.2f (%.0f / %.0f MB/s)", ours/theirs, ours/1e6, theirs/1e6),
			note:   fmt.Sprintf("to the raw file: %.2f (%.0f MB/s)", ours/raw, raw/1e6),
		})
	}
	return rows, nil
}

// bareMount makes by hand what published made.
func (b *bench) bareMount() (mountPoint string, undo func() error, err error) {
	image, mountPoint := filepath.Join(b.bare, "image"), filepath.Join(b.dir, "bare-fio")
	if err := bareFile(image, int64(fioVolume)); err != nil {
		return "", nil, err
	}
	device, err := command("losetup", "--find", "--show", "--direct-io=on", image)
	if err != nil {
		return "", nil, err
	}
	if _, err := command("mkfs.ext4", "-q", "-m", "0", "-E", "nodiscard", device); err != nil {
		return "", nil, err
	}
	if err := os.Mkdir(mountPoint, 0o700); err != nil {
		return "", nil, err
	}
	if _, err := command("mount", device, mountPoint); err != nil {
		return "", nil, err
	}
	return mountPoint, func() error {
		_, unmounted := command("umount", mountPoint)
		_, detached := command("losetup", "--detach", device)
		return errors.Join(unmounted, detached, os.Remove(mountPoint))
	}, nil
}

func fillFile(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return fill(path, fioBytes)
}

// fioOnce returns the bytes a second of one run.
func (b *bench) fioOnce(file, rw, block string, depth int) (float64, error) {
	return b.fioOn([]string{"--filename=" + file}, rw, block, depth)
}

// fioOn is fioOnce on what the arguments of fio name.
func (b *bench) fioOn(where []string, rw, block string, depth int) (float64, error) {
	args := append([]string{"--name=bench", "--output-format=json", "--rw=" + rw, "--bs=" + block,
		fmt.Sprintf("--iodepth=%d", depth), "--ioengine=libaio", "--direct=1", "--time_based", "--ramp_time=500ms", fmt.Sprintf("--runtime=%s", b.fioTime)}, where...)
	out, err := command("fio", args...)
	if err != nil {
		return 0, err
	}
	type side struct {
		Bytes float64 `json:"bw_bytes"`
	}
	var answer struct {
		Jobs []struct {
			Error       int
			Read, Write side
		}
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil {
		return 0, fmt.Errorf("fio: %w", err)
	}
	if len(answer.Jobs) != 1 || answer.Jobs[0].Error != 0 {
		return 0, fmt.Errorf("fio answered %+v", answer)
	}
	return answer.Jobs[0].Read.Bytes + answer.Jobs[0].Write.Bytes, nil
}

func middle(values []float64) float64 { return slices.Sorted(slices.Values(values))[len(values)/2] }
