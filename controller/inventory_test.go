package controller_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/controller"
	"github.com/loam-storage/loam/driver/inventory"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/pool/memory"
	"github.com/loam-storage/loam/driver/volume"
)

// told asks for all pages of that many names, and returns what they say.
func told(t *testing.T, pools *pool.Set, most int32) (names []string, unreadable map[string]string) {
	t.Helper()
	unreadable = map[string]string{}
	s := controller.NewInventory(pools)
	for token := ""; ; {
		page, err := s.ListInventory(t.Context(), &inventory.ListInventoryRequest{Token: token, MaxNames: most})
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, p := range page.GetPools() {
			for _, v := range p.GetVolumes() {
				names, n = append(names, p.GetName()+" volume "+v), n+1
			}
			for _, sn := range p.GetSnapshots() {
				names, n = append(names, p.GetName()+" snapshot "+sn), n+1
			}
			if p.GetUnreadable() != "" {
				unreadable[p.GetName()] = p.GetUnreadable()
			}
		}
		if most > 0 && n > int(most) {
			t.Errorf("a page of %d has %d names", most, n)
		}
		if page.GetDefaultPool() != "slow" {
			t.Errorf("the default pool is %q", page.GetDefaultPool())
		}
		if token = page.GetNextToken(); token == "" {
			return names, unreadable
		}
	}
}

func TestInventoryIsOfAllPoolsAndPagesFitTogether(t *testing.T) {
	slow, fast := memory.New("slow", node, volume.GiB), memory.New("fast", node, volume.GiB)
	m := machineWith(t, controller.Config{}, slow, fast, bare{memory.New("bare", node, volume.GiB)}, memory.New("empty", node, volume.GiB))
	var want []string
	for _, p := range []string{"bare", "fast", "slow"} {
		for i := range 3 {
			m.create(p, fmt.Sprintf("%s-%d", p, i))
			want = append(want, fmt.Sprintf("%s volume %s-%d", p, p, i))
		}
		for i := range 3 {
			if p == "bare" {
				break
			}
			_, err := m.CreateSnapshot(t.Context(), &csi.CreateSnapshotRequest{Name: fmt.Sprintf("%s-s%d", p, i), SourceVolumeId: handle(p, p+"-0")})
			m.ok("CreateSnapshot", err)
			want = append(want, fmt.Sprintf("%s snapshot %s-s%d", p, p, i))
		}
	}
	fast.Damage(volume.ID{Node: node, Pool: "fast", Name: "fast-1"}, "its record is lost") // its name is taken all the same
	set, err := pool.NewSet(node, m.pools...)
	m.ok("NewSet", err)
	for most := int32(0); most < 18; most++ {
		if names, unreadable := told(t, set, most); !slices.Equal(names, want) || len(unreadable) > 0 {
			t.Errorf("in pages of %d: %q, %q", most, names, unreadable)
		}
	}
	for _, token := range []string{"nonsense", "fast/others/x", "/"} {
		if _, err := controller.NewInventory(set).ListInventory(t.Context(), &inventory.ListInventoryRequest{Token: token}); !volume.Is(err, volume.Busy) {
			t.Errorf("token %q: %v", token, err)
		}
	}
}

func TestInventoryNamesAPoolThatCannotBeRead(t *testing.T) {
	m := machineWith(t, controller.Config{}, memory.New("slow", node, volume.GiB), broken{memory.New("fast", node, volume.GiB)}, memory.New("zz", node, volume.GiB))
	m.create("slow", "v")
	m.create("zz", "z")
	set, err := pool.NewSet(node, m.pools...)
	m.ok("NewSet", err)
	for most := int32(0); most < 3; most++ {
		names, unreadable := told(t, set, most)
		if !slices.Equal(names, []string{"slow volume v", "zz volume z"}) || len(unreadable) != 1 || !strings.Contains(unreadable["fast"], "fast") {
			t.Errorf("in pages of %d: %q, %q", most, names, unreadable)
		}
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := controller.NewInventory(set).ListInventory(ended, &inventory.ListInventoryRequest{}); err == nil {
		t.Error("a call whose caller has left has an answer")
	}
}

// garbled is a pool whose error has the name of a file that is not UTF-8, which no message of gRPC may have in it.
type garbled struct{ *memory.Pool }

func (garbled) List(context.Context, string, int) ([]volume.Volume, error) {
	return nil, volume.Errorf(volume.Unavailable, "stat /srv/\xff: away")
}

func TestReasonWhyAPoolCannotBeReadIsAText(t *testing.T) {
	set, err := pool.NewSet(node, garbled{memory.New("slow", node, volume.GiB)})
	if err != nil {
		t.Fatal(err)
	}
	if _, unreadable := told(t, set, 0); !utf8.ValidString(unreadable["slow"]) || !strings.HasSuffix(unreadable["slow"], "away") {
		t.Errorf("%q", unreadable)
	}
}

// hung is a pool on a disk that does not answer until it is let go.
type hung struct {
	*memory.Pool
	reads    atomic.Int32
	released chan struct{}
}

func (h *hung) List(ctx context.Context, after string, limit int) ([]volume.Volume, error) {
	h.reads.Add(1)
	<-h.released
	return h.Pool.List(ctx, after, limit)
}

func TestInventoryDoesNotWaitForADiskThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow, h := memory.New("slow", node, volume.GiB), &hung{Pool: memory.New("fast", node, volume.GiB), released: make(chan struct{})}
		set, err := pool.NewSet(node, slow, h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := slow.Create(t.Context(), volume.Spec{ID: volume.ID{Node: node, Pool: "slow", Name: "v"}, Size: volume.Range{RequiredBytes: volume.MiB}}); err != nil {
			t.Fatal(err)
		}
		s := controller.NewInventory(set)
		for range 100 {
			began := time.Now()
			page, err := s.ListInventory(t.Context(), &inventory.ListInventoryRequest{})
			if err != nil || time.Since(began) > 9*time.Second {
				t.Fatalf("after %s: %v", time.Since(began), err)
			}
			if got := page.GetPools(); len(got) != 2 || !strings.Contains(got[0].GetUnreadable(), "does not answer") || !slices.Equal(got[1].GetVolumes(), []string{"v"}) {
				t.Fatalf("%v", got)
			}
		}
		if n := h.reads.Load(); n != 1 {
			t.Errorf("%d reads wait for the disk", n)
		}
		close(h.released)
		synctest.Wait()
		if page, err := s.ListInventory(t.Context(), &inventory.ListInventoryRequest{}); err != nil || page.GetPools()[0].GetUnreadable() != "" {
			t.Errorf("when it answers again: %v, %v", page, err)
		}
	})
}

// wrong is a pool with a fault in it.
type wrong struct{ *memory.Pool }

func (wrong) List(context.Context, string, int) ([]volume.Volume, error) { panic("a fault") }

func TestPanicWhileAPoolIsReadIsThatOfTheCall(t *testing.T) {
	set, err := pool.NewSet(node, wrong{memory.New("slow", node, volume.GiB)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if recover() == nil {
			t.Error("nobody learns of it")
		}
	}()
	_, _ = controller.NewInventory(set).ListInventory(t.Context(), &inventory.ListInventoryRequest{})
}
