package crash_test

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/loam-storage/loam/driver/host"
)

// run is one run of the test.
type run struct {
	seed     uint64
	dir      string
	log      *os.File
	machine  *host.Host
	driver   *process
	model    *model
	instant  *rand.Rand // of the kills
	took     map[string]time.Duration
	counts   counts
	history  []string
	contents digests
	number   uint64 // of the last content written
}

// How often, in percent.
const (
	killPercent      = 85 // the driver is killed while a call is made,
	groupPercent     = 40 // with all that it runs,
	killAgainPercent = 15 // also while the call is repeated,
	killStartPercent = 15 // also while it is started again
	repeatPercent    = 20 // a call that has ended is made once more
	writePercent     = 40 // something is written between two calls,
	syncPercent      = 50 // and synced
)

// reach is the last instant of a kill, in times of how long such a call takes.
const reach = 1.5

// starting is what the start of the driver is called among what takes time.
const starting = "start"

// learn remembers how long something takes that is not cut off.
func (r *run) learn(like string, took time.Duration) {
	if before, known := r.took[like]; known {
		took = before + (took-before)/4
	}
	r.took[like] = took
}

// takes returns about how long something takes.
func (r *run) takes(like string) time.Duration { return cmp.Or(r.took[like], 5*time.Millisecond) }

// killIn chooses whether to kill the driver in something, and when.
func (r *run) killIn(like string, percent int) (time.Duration, bool) {
	instant, wanted := r.instant.Float64()*reach, r.instant.IntN(100) < percent
	return time.Duration(instant * float64(r.takes(like))), wanted
}

// sent is how a call ended that may have been cut off.
type sent struct {
	err            error
	killed, cutOff bool
}

// send sends the call once and kills the driver in the middle if chosen.
func (r *run) send(o operation, percent int) (s sent, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	in, kill := r.killIn(o.like, percent)
	group := r.instant.IntN(100) < groupPercent
	done, took := make(chan error, 1), time.Duration(0)
	go func() {
		started := time.Now()
		err := o.call(ctx, r.driver.clients)
		took = time.Since(started)
		done <- err
	}()
	if kill {
		<-time.After(in)
		if err := r.driver.killed(group); err != nil {
			return s, err
		}
	}
	s = sent{err: <-done, killed: kill}
	s.cutOff = kill && status.Code(s.err) == codes.Unavailable
	// Not from a call that was begun before, and one that was cut off would have taken longer.
	if percent == killPercent && (s.err == nil || s.cutOff && took > r.takes(o.like)) {
		r.learn(o.like, took)
	}
	if kill {
		_ = r.driver.conn.Close()
		r.counts.kill(s.cutOff, group)
		r.note("  killed after %s, of about %s (%s)", in.Round(10*time.Microsecond), r.takes(o.like).Round(10*time.Microsecond), outcome(s))
	}
	return s, nil
}

func outcome(s sent) string {
	switch {
	case s.cutOff:
		return "in the middle of it"
	case s.err == nil:
		return "it had ended"
	}
	return "it had ended: " + s.err.Error()
}

// carryOut makes the call until it ends, whatever happens to the driver meanwhile.
func (r *run) carryOut(o operation, percent int) error {
	r.note("%s", o.text)
	after := r.model.clone()
	o.change(after)
	if err := perhaps(o.prepare); err != nil {
		return err
	}
	for deadline, ended := time.Now().Add(patience), false; !ended; percent = percent * killAgainPercent / 100 {
		s, err := r.send(o, percent)
		if err != nil {
			return err
		}
		ended = !again(s.err)
		if ended && status.Code(s.err) != o.want {
			return fmt.Errorf("%s ended with %w", o.text, s.err)
		}
		if !ended && time.Now().After(deadline) {
			return fmt.Errorf("%s did not end: %w", o.text, s.err)
		}
		if !ended {
			r.counts.retries++
		}
		switch {
		case s.killed:
			if err := r.revive(o, after, ended); err != nil {
				return err
			}
		case !ended:
			r.note("  %s", s.err)
			<-time.After(10 * time.Millisecond) // what holds it is an orphan that ends
		}
	}
	r.model = after
	if err := r.repeat(o, percent); err != nil {
		return err
	}
	if err := perhaps(o.tidy); err != nil {
		return err
	}
	return r.check(o)
}

func perhaps(do func() error) error {
	if do == nil {
		return nil
	}
	return do()
}

// again says whether an orchestrator repeats a call that ended so.
func again(err error) bool {
	code := status.Code(err)
	return code == codes.Unavailable || code == codes.Aborted
}

// repeat makes a call that has ended once more, at times: it must end the same.
func (r *run) repeat(o operation, percent int) error {
	if percent == 0 || r.instant.IntN(100) >= repeatPercent {
		return nil
	}
	s, err := r.send(o, 0)
	if err != nil || status.Code(s.err) == o.want {
		return err
	}
	return fmt.Errorf("%s ended, and when repeated ended with %w", o.text, s.err)
}

func (r *run) note(format string, args ...any) {
	r.history = append(r.history, fmt.Sprintf(format, args...))
}
