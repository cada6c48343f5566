// Command bench measures loam against the bare system calls and commands that do the same work, in
// one run and in turn, and prints the ratios as a table. It needs root, fio, and some 40 GiB below
// the directory given with -dir. The exit code is 1 where a figure misses its bound.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	if dir := os.Getenv(controllerVariable); dir != "" {
		if err := controllerProcess(dir, os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, "controller:", err)
			os.Exit(2)
		}
		return
	}
	dir := flag.String("dir", "/var/tmp", "directory to work in")
	only := flag.String("only", "", "measure only these, separated by commas: "+strings.Join(names(), ","))
	rounds := flag.Int("rounds", 15, "how often each pair is measured")
	fioTime := flag.Duration("fio", 4*time.Second, "how long each fio run takes")
	extents := flag.Int("extents", 1_300_000, "in how many pieces the image is that extents makes")
	lvmPools := flag.Bool("lvm", false, "measure LVM pools on the blank disks that LOAM_TEST_DISKS names, and no others")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	table := &table{}
	how := settings{rounds: *rounds, fioTime: *fioTime, extents: *extents}
	var err error
	if *lvmPools {
		err = runLVM(ctx, how, table.print)
	} else {
		err = run(ctx, *dir, *only, how, table.print)
	}
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	case table.missed > 0:
		os.Exit(1)
	}
}

// settings says how long to measure.
type settings struct {
	rounds  int
	fioTime time.Duration
	extents int
}

// measurements are the parts of the table, each with rows of its own.
var measurements = []struct {
	name string
	run  func(*bench) ([]row, error)
}{
	{"create", createVolume}, {"life", lifeCycle}, {"many", manyStages}, {"copy", copies}, {"snapshots", snapshots}, {"extents", manyExtents}, {"list", lists}, {"route", routing}, {"nodes", manyNodes}, {"stats", stats}, {"idle", idle}, {"fio", fio},
}

func names() []string {
	var all []string
	for _, m := range measurements {
		all = append(all, m.name)
	}
	return all
}

// row is one figure beside its bound.
type row struct {
	what   string
	figure string
	bound  string
	met    bool
	note   string
}

// table prints rows, and counts those that miss their bound.
type table struct{ begun, missed int }

func (t *table) print(rows []row) {
	if t.begun++; t.begun == 1 {
		fmt.Printf("%-58s %-28s %-12s %s\n", "what", "figure", "bound", "met")
	}
	for _, r := range rows {
		met := "yes"
		if !r.met {
			met = "NO"
			t.missed++
		}
		fmt.Printf("%-58s %-28s %-12s %s\n", r.what, r.figure, r.bound, met)
		if r.note != "" {
			fmt.Printf("    %s\n", r.note)
		}
	}
}

func run(ctx context.Context, dir, only string, s settings, each func([]row)) (err error) {
	if os.Geteuid() != 0 {
		return errors.New("needs root, for loop devices and mounts")
	}
	b, err := prepare(ctx, dir, s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	for _, m := range measurements {
		if only != "" && !slices.Contains(strings.Split(only, ","), m.name) {
			continue
		}
		rows, err := m.run(b)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		each(rows)
	}
	return nil
}

// median returns the middle of the durations.
func median(d []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(d))
	return sorted[len(sorted)/2]
}

// pairs runs ours and bare in turn and returns the ratio of their medians as a row.
func pairs(b *bench, what string, bound float64, ours, bare func(round int) error) (row, error) {
	var us, them []time.Duration
	for i := range b.rounds + 1 {
		for _, one := range []struct {
			do   func(int) error
			took *[]time.Duration
		}{{ours, &us}, {bare, &them}} {
			start := time.Now()
			if err := one.do(i); err != nil {
				return row{}, fmt.Errorf("%s: %w", what, err)
			}
			if i > 0 { // the first round warms up
				*one.took = append(*one.took, time.Since(start))
			}
		}
	}
	return ratio(what, bound, median(us), median(them)), nil
}

func ratio(what string, bound float64, us, them time.Duration) row {
	r := float64(us) / float64(them)
	return row{what: what, figure: fmt.Sprintf("%.2f (%s / %s)", r, round(us), round(them)), bound: fmt.Sprintf("<= %.2f", bound), met: r <= bound}
}

func round(d time.Duration) time.Duration {
	if d > 10*time.Millisecond {
		return d.Round(100 * time.Microsecond)
	}
	return d.Round(time.Microsecond)
}
