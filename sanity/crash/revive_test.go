package crash_test

import (
	"fmt"
	"time"
)

// revive starts the driver again after it was killed in a call, at times not at the first attempt, and
// looks at what the kill left. To thaw what was frozen is the watchdog's part: it must be done before.
func (r *run) revive(o operation, after *model, ended bool) error {
	for _, path := range o.freezes {
		if err := breathes(path); err != nil {
			return fmt.Errorf("after the driver was killed: %w", err)
		}
	}
	if err := r.start(killStartPercent); err != nil {
		return err
	}
	before, missing := r.model.state(), o.missing
	if ended {
		before, missing = after.state(), nil
	}
	return r.compare("after the driver was started again", before, after.state(), missing)
}

// start starts the driver, at times after having killed it while it started.
func (r *run) start(percent int) (err error) {
	for first := true; ; first = false {
		started := time.Now()
		if r.driver, err = start(r.dir, r.model.where, r.log); err != nil {
			return err
		}
		in, kill := r.killIn(starting, percent)
		if !kill {
			if err := r.driver.ready(r.dir); err != nil {
				return err
			}
			if first {
				r.learn(starting, time.Since(started))
			}
			return nil
		}
		<-time.After(in)
		if err := r.driver.killed(r.instant.IntN(100) < groupPercent); err != nil {
			return err
		}
		r.counts.atStart++
		r.note("  killed %s after it was started", in.Round(time.Millisecond))
		percent = percent * killAgainPercent / 100
	}
}
