package fleet

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/loam-storage/loam/driver/inventory"
	"github.com/loam-storage/loam/driver/volume"
)

// What a node says of itself is checked, and is no more than one node can have.
func TestInventoryThatCannotBeIsRefused(t *testing.T) {
	page := func(change func(*inventory.ListInventoryResponse)) *inventory.ListInventoryResponse {
		p := &inventory.ListInventoryResponse{DefaultPool: "fast", Making: []string{"new"}, Pools: []*inventory.Pool{
			{Name: "fast", Volumes: []string{"v"}, Snapshots: []string{"s"}}, {Name: "slow", Unreadable: "its disk\nis \x00away" + strings.Repeat("!", 1<<20)}}}
		change(p)
		return p
	}
	good := newTold()
	if err := good.add("n1", page(func(*inventory.ListInventoryResponse) {})); err != nil {
		t.Fatal(err)
	}
	if good.has[aVolume("v")] != "fast" || good.has[aSnapshot("s")] != "fast" || len(good.has) != 2 || !good.making["new"] || good.defaultPool != "fast" {
		t.Errorf("%+v", good)
	}
	if why := good.unreadable["slow"]; !strings.HasPrefix(why, "its disk is  away!") || len(why) > mostReason+3 || len(good.unreadable) != 1 {
		t.Errorf("%d bytes: %q", len(why), why)
	}
	for what, change := range map[string]func(*inventory.ListInventoryResponse){
		"a handle for a name":          func(p *inventory.ListInventoryResponse) { p.Pools[0].Volumes[0] = "n2/fast/v" },
		"a name that is too long":      func(p *inventory.ListInventoryResponse) { p.Pools[0].Snapshots[0] = strings.Repeat("v", 1<<20) },
		"no name":                      func(p *inventory.ListInventoryResponse) { p.Pools[0].Volumes[0] = "" },
		"no pool":                      func(p *inventory.ListInventoryResponse) { p.Pools[0].Name = "" },
		"a pool that is none":          func(p *inventory.ListInventoryResponse) { p.Pools[1].Name = "Not One" },
		"no default pool":              func(p *inventory.ListInventoryResponse) { p.DefaultPool = "" },
		"making what is no name":       func(p *inventory.ListInventoryResponse) { p.Making[0] = "a/b" },
		"a nil pool":                   func(p *inventory.ListInventoryResponse) { p.Pools[0] = nil },
		"more names than a node has":   func(p *inventory.ListInventoryResponse) { p.Pools[0].Volumes = numbered(mostNames + 1) },
		"more being made than it has":  func(p *inventory.ListInventoryResponse) { p.Making = numbered(mostNames + 1) },
		"more pools than there can be": func(p *inventory.ListInventoryResponse) { p.Pools = unreadablePools(mostPools + 1) },
	} {
		bad := newTold()
		if err := bad.add("n1", page(change)); !volume.Is(err, volume.Internal) || !strings.Contains(err.Error(), `node "n1"`) || len(err.Error()) > 1000 {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func numbered(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("v%d", i)
	}
	return names
}

func unreadablePools(n int) (pools []*inventory.Pool) {
	for _, name := range numbered(n) {
		pools = append(pools, &inventory.Pool{Name: name, Unreadable: "away"})
	}
	return pools
}

// What was in a pool that cannot be read any more is still in it, but for what calls have changed since.
func TestWhatIsInAPoolThatCannotBeReadStaysKnown(t *testing.T) {
	c := newContents("a", newNames())
	c.note(aVolume("stays"), "slow")
	c.note(aVolume("goes"), "slow")
	c.note(aVolume("elsewhere"), "fast")
	asked := c.begin()
	c.note(aVolume("goes"), "")
	said := newTold()
	said.unreadable["slow"], said.defaultPool = "away", "fast"
	if lost, back, err := c.replace(asked, said); err != nil || fmt.Sprint(lost, back) != "[slow] []" {
		t.Errorf("lost %q, back %q", lost, back)
	}
	if pool, why := c.hidden(aVolume("stays")); !c.holds(aVolume("stays")) || pool != "slow" || why != "away" {
		t.Errorf("in %q, which is %q", pool, why)
	}
	for _, name := range []string{"goes", "elsewhere"} {
		if _, why := c.hidden(aVolume(name)); c.holds(aVolume(name)) || why != "" {
			t.Errorf("%s is there", name)
		}
	}
	if _, why := c.unreadablePool(""); why != "" {
		t.Errorf("the default pool: %q", why)
	}
	if lost, back, err := c.replace(c.begin(), newTold()); err != nil || fmt.Sprint(lost, back) != "[] [slow]" || c.holds(aVolume("stays")) {
		t.Errorf("lost %q, back %q", lost, back)
	}
}

// A node that somebody has taken over could have names kept for ever, some more with each answer, as those of a pool that it cannot read.
func TestNamesOfPoolsThatCannotBeReadDoNotGrowWithoutEnd(t *testing.T) {
	c := newContents("a", newNames())
	said := func(name func(int) string, names int) told {
		t := newTold()
		t.unreadable["slow"] = "away"
		for i := range names {
			t.has[aVolume(name(i))] = "slow"
		}
		return t
	}
	first := func(i int) string { return fmt.Sprintf("v%d", i) }
	second := func(i int) string { return fmt.Sprintf("w%d", i) }
	if _, _, err := c.replace(c.begin(), said(first, mostNames)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.replace(c.begin(), said(second, 1)); !volume.Is(err, volume.Internal) {
		t.Error(err)
	}
	if len(c.has) != mostNames || c.holds(aVolume("w0")) || !c.holds(aVolume("v0")) || len(c.listings) > 0 {
		t.Errorf("%d names are known", len(c.has))
	}
}

// The connection of a node is replaced while it is asked over it, and the answer comes after that to the same question over the new one.
func TestAnswerToAnEarlierQuestionDoesNotReplaceALaterOne(t *testing.T) {
	c := newContents("a", newNames())
	earlier, later := c.begin(), c.begin()
	now := newTold()
	now.has[aVolume("v")] = "fast"
	for _, answer := range []struct {
		l    *listing
		said told
	}{{later, now}, {earlier, newTold()}} {
		if _, _, err := c.replace(answer.l, answer.said); err != nil {
			t.Fatal(err)
		}
	}
	if !c.holds(aVolume("v")) || len(c.listings) > 0 {
		t.Error("what the node has said last is forgotten")
	}
}

// lists is a node of an earlier release, whose lists never end.
type lists struct {
	csi.ControllerClient
	inventory.InventoryClient
	pages int
}

func (l *lists) ListInventory(context.Context, *inventory.ListInventoryRequest, ...grpc.CallOption) (*inventory.ListInventoryResponse, error) {
	return nil, status.Error(codes.Unimplemented, "of an earlier release")
}

func (l *lists) ListVolumes(context.Context, *csi.ListVolumesRequest, ...grpc.CallOption) (*csi.ListVolumesResponse, error) {
	l.pages++
	page := &csi.ListVolumesResponse{NextToken: strconv.Itoa(l.pages)}
	for i := range 40_000 {
		page.Entries = append(page.Entries, &csi.ListVolumesResponse_Entry{Volume: &csi.Volume{VolumeId: fmt.Sprintf("n1/fast/v%d-%d", l.pages, i)}})
	}
	if l.pages > 20 {
		page.NextToken = ""
	}
	return page, nil
}

func (l *lists) ListSnapshots(context.Context, *csi.ListSnapshotsRequest, ...grpc.CallOption) (*csi.ListSnapshotsResponse, error) {
	return &csi.ListSnapshotsResponse{}, nil
}

func TestListsOfANodeOfAnEarlierReleaseAreNoLongerThanItsInventoryMayBe(t *testing.T) {
	l := &lists{}
	n := &node{name: "n1", controller: l, inventory: l}
	if said, err := n.everything(t.Context()); !volume.Is(err, volume.Internal) || len(said.has) > mostNames+40_000 {
		t.Errorf("%d names: %v", len(said.has), err)
	}
}
