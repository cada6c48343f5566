package hostile_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// What an attack may cost the controller, of which there is one for all: it needs a third of this memory and a tenth of this log, or
// less.
const (
	mostMemory = 512 << 20 // bytes, above what it needs without
	mostLog    = 1 << 20   // bytes
)

// leastAttack is for how long each attack goes on at least.
const leastAttack = 2 * time.Second

// Whatever comes to its port, the controller makes volumes on honest nodes, and lets further ones in.
func TestStrangersStopNobody(t *testing.T) {
	c := startController(t)
	honest := []string{"n1", "n2", "n3"}
	for _, name := range honest {
		c.connect(t, name)
	}
	for i, name := range slices.Sorted(maps.Keys(strangers())) {
		t.Run(name, func(t *testing.T) {
			c.undergo(t, name, fmt.Sprintf("s%d", i), honest, func() { c.connect(t, "n4") })
		})
	}
}

// Whatever a node says or does that has been taken over, the controller makes volumes on the others.
func TestHostileNodeStopsNobody(t *testing.T) {
	c := startController(t)
	honest := []string{"n1", "n2", "n3"}
	for _, name := range honest {
		c.connect(t, name)
	}
	if _, err := c.CreateVolume(t.Context(), volumeOf("kept", "n1")); err != nil {
		t.Fatal(err)
	}
	for i, name := range slices.Sorted(maps.Keys(lies())) {
		t.Run(name, func(t *testing.T) {
			before := strings.Count(c.said(t), `"node is connected" claimed="evil"`)
			c.undergo(t, name, fmt.Sprintf("h%d", i), honest, func() {
				eventually(t, "the hostile node", func() bool { return strings.Count(c.said(t), `"node is connected" claimed="evil"`) > before })
			})
		})
	}
	one, err := c.ControllerGetVolume(t.Context(), &csi.ControllerGetVolumeRequest{VolumeId: "n1/default/kept"})
	if err != nil && status.Code(err) != codes.Unimplemented {
		t.Errorf("%v, %v", one, err)
	}
}

// undergo has the controller attacked, and asks it meanwhile for volumes on honest nodes, and for lists. It prints what that cost.
func (c *controller) undergo(t *testing.T, attack, prefix string, honest []string, begun func()) {
	c.measure(t)
	before := c.measure(t)
	began := time.Now()
	end := c.attack(t, attack)
	begun()
	var made []string
	lists, refused, denied := 0, 0, 0
	limit := patience
	if attack == "hangs" { // which keeps a list from ending for as long as its caller waits
		limit = 5 * time.Second
	}
	for i := 0; i < 20 || time.Since(began) < leastAttack; i++ {
		name := fmt.Sprintf("%s-%d", prefix, i)
		resp, err := c.CreateVolume(t.Context(), volumeOf(name, honest...))
		if err != nil {
			t.Fatalf("a volume on an honest node: %v", err)
		}
		made = append(made, resp.GetVolume().GetVolumeId())
		if i%10 > 0 || lists+refused > 0 && time.Since(began) > leastAttack {
			continue
		}
		switch resp, err := c.CreateVolume(t.Context(), volumeOf(name+"-anywhere")); { // which may come to the hostile node
		case err == nil:
			made = append(made, resp.GetVolume().GetVolumeId())
		case blames(err):
			denied++
		default:
			t.Errorf("a volume anywhere: %.1000v", err)
		}
		switch listed, err := c.list(t, limit); {
		case err == nil:
			if missing := slices.IndexFunc(made, func(handle string) bool { return !listed[handle] }); missing >= 0 {
				t.Errorf("%s is not listed", made[missing])
			}
			lists++
		case blames(err), attack == "hangs" && status.Code(err) == codes.DeadlineExceeded: // a list with a part missing is none
			refused++
		default:
			t.Errorf("a list: %.1000v", err)
		}
	}
	took := time.Since(began)
	now := c.measure(t)
	if attempts := end(); attempts == 0 {
		t.Error("nothing was attacked")
	} else {
		memory, log := now.most-before.resident, now.log-before.log
		fmt.Printf("count: hostile: %s, %d times in %s: %d creates and %d lists meanwhile; %d lists, and %d creates without a topology, are errors that name the node; it cost the controller %s of memory, %d bytes of log and %s of processors\n",
			attack, attempts, took.Round(100*time.Millisecond), len(made), lists, refused, denied, describe(memory), log, now.work-before.work)
		if memory > mostMemory || log > mostLog {
			t.Errorf("it costs more than %s of memory and %s of log", describe(mostMemory), describe(mostLog))
		}
	}
	for _, handle := range made {
		if _, err := c.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: handle}); err != nil {
			t.Errorf("%s: %v", handle, err)
		}
	}
}

// list returns the handles of all volumes there are.
func (c *controller) list(t *testing.T, limit time.Duration) (map[string]bool, error) {
	all := map[string]bool{}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	for token := ""; ; {
		page, err := c.ListVolumes(ctx, &csi.ListVolumesRequest{StartingToken: token})
		if err != nil {
			return nil, err
		}
		for _, e := range page.GetEntries() {
			all[e.GetVolume().GetVolumeId()] = true
		}
		if token = page.GetNextToken(); token == "" {
			return all, nil
		}
	}
}

// blames reports whether an error lets whoever reads it see which node to look after.
func blames(err error) bool {
	return strings.Contains(err.Error(), `node "evil"`) && len(err.Error()) < 10_000
}
