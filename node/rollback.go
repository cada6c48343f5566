package node

import (
	"context"
	"fmt"
	"slices"
)

// undo is what takes back the steps of a call that fails later. The kubelet forgets a stage or publish
// that ended with a final error: it removes its directories and never calls NodeUnstageVolume, so what
// the call had done must be gone when it answers.
type undo struct{ steps []step }

type step struct {
	what string
	do   func(context.Context) error
}

func (u *undo) add(what string, do func(context.Context) error) {
	u.steps = append(u.steps, step{what, do})
}

// unless takes the steps back, the last one first, where err is not nil, and returns err. If a step
// cannot be taken back, those before it stay as well, for they carry it, and err says so and keeps its
// kind.
func (u *undo) unless(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	for _, s := range slices.Backward(u.steps) {
		if failed := s.do(context.WithoutCancel(ctx)); failed != nil {
			return fmt.Errorf("%w; taking back what was done until then stopped at %s: %v", err, s.what, failed)
		}
	}
	return err
}
