package lvm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/driver/pool/identity"
	"github.com/loam-storage/loam/driver/pool/lvm/vg"
	"github.com/loam-storage/loam/driver/volume"
)

// tagPool begins the tag with the identity of a pool, on its thin pool, or on the volume group of a thick one. The name of the
// pool follows, for a group may have several.
const tagPool = tagPrefix + "pool."

// identityTime is how a tag writes the time: the other ways have letters that a tag cannot have.
const identityTime = "20060102T150405Z"

// identityTag writes the identity as a tag, which has at most 1024 letters, digits and few others (lvm(8), TAGS).
func identityTag(i identity.Identity) string {
	return tagPool + i.Pool + "=" + strings.Join([]string{strconv.Itoa(i.Version), i.ID, i.Node, string(i.Kind), i.How, i.Created.Format(identityTime)}, ":")
}

// parseIdentity reads such a tag. It reports false for any other tag. The kind of its error is Unavailable.
func parseIdentity(tag string) (i identity.Identity, is bool, err error) {
	rest, is := strings.CutPrefix(tag, tagPool)
	if !is {
		return i, false, nil
	}
	name, value, _ := strings.Cut(rest, "=")
	parts := strings.Split(value, ":")
	damaged := volume.Errorf(volume.Unavailable, "the tag %q, which says which pool it is, is damaged", tag)
	i.Pool = name
	if i.Version, err = strconv.Atoi(parts[0]); err != nil {
		return i, true, damaged
	}
	if len(parts) >= 6 {
		i.ID, i.Node, i.Kind, i.How = parts[1], parts[2], identity.Kind(parts[3]), parts[4]
		if i.Created, err = time.Parse(identityTime, parts[5]); err != nil {
			return i, true, damaged
		}
	}
	return i, true, i.Check()
}

// at is where the pool is to be. A group, or a thin pool, that is there was made by somebody for it.
func (p *account) at(g *vg.Layout) identity.Place {
	kind, where := p.layout.where()
	return identity.Place{Pool: p.name, Node: p.node, Kind: kind, Where: where, Create: p.config.Create || g != nil}
}

// errRefused is in the error of a group that is there and is not this pool's, or of one that is not there and is known.
var errRefused = errors.New("loam makes no other one in its place")

// lookAndDecide reads the volume group, and refuses one that is not the pool's. Where there is none, the error is what
// LVM says, and Unavailable; it is errRefused where there was one.
func (p *Pool) lookAndDecide(ctx context.Context) (*vg.Report, error) {
	r, err := p.vg.Report(ctx)
	if err != nil && !volume.Is(err, volume.Unavailable) {
		return nil, err
	}
	g, _ := vg.LayoutIn(r, err)
	if _, _, refused := p.decide(g); refused != nil && (err == nil || p.knows()) {
		if err != nil {
			refused = fmt.Errorf("%w (%w)", refused, err)
		}
		return nil, fmt.Errorf("%w: %w", refused, errRefused)
	}
	return r, err
}

// knows reports whether the machine has opened a pool of the name.
func (p *account) knows() bool {
	known, err := p.config.Known.Known(p.name)
	return err != nil || known != nil
}

// decide says what is to be done with the volume group, which is nil where there is none. It changes nothing.
func (p *account) decide(g *vg.Layout) (identity.Decision, identity.Found, error) {
	found, err := p.foundIn(g)
	if err != nil {
		return "", found, err
	}
	d, err := p.config.Known.Decide(p.at(g), found)
	if err != nil {
		err = volume.Errorf(volume.KindOf(err), "pool %q: %w", p.name, err)
	}
	return d, found, err
}

// foundIn returns the identity that is where the pool has it: on its thin pool, whoever's it is, or on the group. One of this
// name elsewhere in the group says that the pool is there. The kind of its error is Unavailable.
func (p *account) foundIn(g *vg.Layout) (identity.Found, error) {
	if g == nil {
		return identity.Found{}, nil
	}
	refuse := func(err error) (identity.Found, error) {
		return identity.Found{}, volume.Errorf(volume.Unavailable, "pool %q: volume group %q: %w", p.name, g.Name, err)
	}
	own, elsewhere, err := p.tagsIn(g)
	switch {
	case err != nil:
		return refuse(err)
	case own != nil:
		return identity.Found{Identity: own}, nil
	case elsewhere != "":
		return refuse(fmt.Errorf("the pool is in %s, and the configuration says in %s: change it back", elsewhere, p.at(g).Where))
	}
	if other := p.othersIn(g); other != "" {
		return refuse(fmt.Errorf("it holds volumes of a pool of this name of another node (%s), and none of node %q: take its disks there, or, if this machine is to be that node again, give it its name", other, p.node))
	}
	return identity.Found{Earlier: slices.ContainsFunc(g.LVs, p.ours)}, nil
}

// tagsIn returns the identity that is where the pool has it, and where else in the group there is one of its name.
func (p *account) tagsIn(g *vg.Layout) (own *identity.Identity, elsewhere string, err error) {
	look := func(tags []string, isOwn, whoever bool, where string) {
		for _, tag := range tags {
			i, is, parseErr := parseIdentity(tag)
			switch {
			case !is || (i.Pool != p.name && !whoever):
			case isOwn:
				own, err = &i, errors.Join(err, parseErr)
			default:
				elsewhere = where
			}
		}
	}
	look(g.Tags, p.config.ThinPool == "", false, "the volume group itself, with thick volumes")
	for _, l := range g.LVs {
		isOwn := l.Name == p.config.ThinPool
		look(l.Tags, isOwn, isOwn, fmt.Sprintf("thin pool %q", l.Name))
	}
	return own, elsewhere, err
}

// othersIn returns what another node's pool of this name has in the group, where this one has nothing.
func (p *account) othersIn(g *vg.Layout) (other string) {
	for _, l := range g.LVs {
		for _, prefix := range []string{tagVolume, tagSnapshot} {
			text, ok := tagged(l.Tags, prefix)
			id, err := volume.ParseID(text)
			switch {
			case !ok || err != nil || id.Pool != p.name:
			case id.Node == p.node:
				return ""
			default:
				other = text
			}
		}
	}
	return other
}

// establish gives a pool that has none its identity, and has the machine remember it. While a disk is missing nothing
// is changed in the group, and both wait until the pool is opened next.
func (p *Pool) establish(ctx context.Context, r *vg.Report) error {
	g := &r.Layout
	_, found, err := p.decide(g)
	if err != nil {
		return err
	}
	if found.Identity == nil && g.Missing > 0 {
		klog.FromContext(ctx).Info("a pool is opened without an identity, for its volume group lacks a disk", "pool", p.name)
		return nil
	}
	if found.Identity == nil {
		how := identity.Made
		if found.Earlier {
			how = identity.Adopted
		}
		i := identity.New(p.at(g), how)
		c := vg.Command{Name: "vgchange", Flags: []string{"--addtag", identityTag(i)}}
		if c.Of = p.config.ThinPool; c.Of != "" {
			c.Name = "lvchange"
		}
		if err := p.vg.ChangeOutside(ctx, c); err != nil {
			return p.explain(err, r, 0)
		}
		found.Identity = &i
	}
	if p.release, err = p.config.Known.Keep(identity.Known{Pool: *found.Identity, Where: p.at(g).Where}); err != nil {
		return volume.Errorf(volume.KindOf(err), "pool %q: %w", p.name, err)
	}
	p.vg.Expect(func(g *vg.Layout) error { return p.same(g, found.Identity.ID) })
	return nil
}

// same says whether a group that was read is the one that the pool was opened in. The tags are in the metadata that are
// read anyway. The kind of its error is Unavailable.
func (p *account) same(g *vg.Layout, id string) error {
	found, err := p.foundIn(g)
	if err != nil {
		return err
	}
	switch {
	case found.Identity == nil:
		return volume.Errorf(volume.Unavailable, "pool %q is no longer in %s: another group or thin pool has that name now, or its tag was removed: put it back", p.name, p.at(g).Where)
	case found.Identity.ID != id:
		return volume.Errorf(volume.Unavailable, "pool %q is no longer in %s, which holds %s now: put it back", p.name, p.at(g).Where, found.Identity)
	}
	return nil
}
