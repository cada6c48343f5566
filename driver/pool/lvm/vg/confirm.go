package vg

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/loam-storage/loam/driver/volume"
)

// Confirm has LVM itself say that the logical volume that a selection names is there as the selection says. What is read
// from the metadata areas is for finding and listing: before something is destroyed that a tag allows to, LVM has to see
// that tag as well. It takes a process. The kind of its error is Unavailable where LVM sees something else.
func (v *Group) Confirm(ctx context.Context, name string, only Select) error {
	out, err := v.output(ctx, Command{Name: "lvs", Flags: []string{"--reportformat", "json", "-o", "lv_name"}, Select: &only})
	if err != nil {
		return err
	}
	var report struct {
		Report []sections `json:"report"`
	}
	if err := json.Unmarshal(out, &report); err != nil {
		return volume.Errorf(volume.Internal, "pool %q: report of lvm: %w", v.pool, err)
	}
	for _, r := range report.Report {
		if slices.ContainsFunc(r.LV, func(row map[string]string) bool { return row["lv_name"] == name }) {
			return nil
		}
	}
	return v.Unconfirmed(name)
}

// Unconfirmed is the error where LVM does not see what was read.
func (v *Group) Unconfirmed(name string) error {
	return volume.Errorf(volume.Unavailable, "pool %q: LVM does not see logical volume %q as its metadata were read from the disks, so nothing was done with it: ask again; where that stays so, see what lvs -o +lv_tags and pvck --dump metadata say", v.pool, name)
}
