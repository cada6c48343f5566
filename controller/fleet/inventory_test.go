package fleet

import (
	"fmt"
	"strings"
	"testing"

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
	c := newContents()
	c.note(aVolume("stays"), "slow")
	c.note(aVolume("goes"), "slow")
	c.note(aVolume("elsewhere"), "fast")
	asked := c.begin()
	c.note(aVolume("goes"), "")
	said := newTold()
	said.unreadable["slow"], said.defaultPool = "away", "fast"
	if lost, back := c.replace(asked, said); fmt.Sprint(lost, back) != "[slow] []" {
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
	if lost, back := c.replace(c.begin(), newTold()); fmt.Sprint(lost, back) != "[] [slow]" || c.holds(aVolume("stays")) {
		t.Errorf("lost %q, back %q", lost, back)
	}
}
