package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/volume"
)

const (
	fewVolumes  = 1_000
	manyVolumes = 10_000
	pageLength  = 500
)

// cost is what a call took.
type cost struct {
	allocations uint64 // by this process, in which the driver and the caller are
	reads       uint64 // read system calls of it
}

// lists measures a page of ListVolumes among 10,000 volumes, and what listing all of them costs for
// each volume against listing 1,000.
func lists(b *bench) (rows []row, err error) {
	defer func() { err = errors.Join(err, b.deleteMany(manyVolumes)) }()
	if err := b.createMany(0, fewVolumes); err != nil {
		return nil, err
	}
	_, few, err := b.listAll(fewVolumes)
	if err != nil {
		return nil, err
	}
	if err := b.createMany(fewVolumes, manyVolumes); err != nil {
		return nil, err
	}
	page, many, err := b.listAll(manyVolumes)
	if err != nil {
		return nil, err
	}
	const most = 50 * time.Millisecond
	per := func(what string, many, few uint64) row {
		r := float64(many) / manyVolumes / (float64(few) / fewVolumes)
		return row{
			what:   fmt.Sprintf("ListVolumes: %s a volume, of 10,000 / of 1,000", what),
			figure: fmt.Sprintf("%.2f (%d / %d in all)", r, many, few), bound: "<= 2.00", met: r <= 2,
		}
	}
	return []row{
		{what: "ListVolumes: a page of 500 of 10,000", figure: round(page).String(), bound: "<= " + most.String(), met: page <= most},
		per("allocations", many.allocations, few.allocations), per("reads", many.reads, few.reads),
	}, nil
}

func manyName(i int) string { return fmt.Sprintf("many-%05d", i) }

func (b *bench) createMany(from, to int) error {
	return abreast(from, to, func(i int) error {
		_, err := b.create(manyName(i), 4*volume.KiB, blockAccess(), nil)
		return err
	})
}

func (b *bench) deleteMany(n int) error {
	return abreast(0, n, func(i int) error { return b.delete(nodeName + "/" + poolName + "/" + manyName(i)) })
}

// abreast calls do for each number, several at a time, until one fails.
func abreast(from, to int, do func(int) error) error {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	numbers := make(chan int)
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for i := range numbers {
				if err := do(i); err != nil {
					cancel(err)
				}
			}
		})
	}
	for i := from; i < to && ctx.Err() == nil; i++ {
		numbers <- i
	}
	close(numbers)
	workers.Wait()
	return context.Cause(ctx)
}

// listAll lists in pages and returns the median time of a page, and what all took.
func (b *bench) listAll(want int) (page time.Duration, all cost, err error) {
	before, err := spent()
	if err != nil {
		return 0, cost{}, err
	}
	var pages []time.Duration
	found, token := 0, ""
	for {
		start := time.Now()
		answer, err := b.controller.ListVolumes(b, &csi.ListVolumesRequest{MaxEntries: pageLength, StartingToken: token})
		if err != nil {
			return 0, cost{}, err
		}
		pages = append(pages, time.Since(start))
		found += len(answer.GetEntries())
		if token = answer.GetNextToken(); token == "" {
			break
		}
	}
	after, err := spent()
	if found != want {
		err = errors.Join(err, fmt.Errorf("ListVolumes listed %d volumes of %d", found, want))
	}
	return median(pages), cost{allocations: after.allocations - before.allocations, reads: after.reads - before.reads}, err
}

var readCalls = regexp.MustCompile(`(?m)^syscr: (\d+)$`)

// spent reads what this process has used up to now.
func spent() (cost, error) {
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return cost{}, err
	}
	match := readCalls.FindSubmatch(text)
	if match == nil {
		return cost{}, errors.New("/proc/self/io does not count reads: the kernel lacks task I/O accounting")
	}
	reads, err := strconv.ParseUint(string(match[1]), 10, 64)
	return cost{allocations: memory.Mallocs, reads: reads}, err
}
