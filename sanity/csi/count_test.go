package csi_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/onsi/ginkgo/v2/types"
)

// neverRun are the specs that no mode runs, with the reason that csi-sanity gives: one that is marked as
// pending there, and those of capabilities that loam has not. It is the whole list, so that no spec is
// skipped unseen: one that a capability of loam switches on runs.
var neverRun = map[string]string{
	"Controller Service [Controller Server] ListVolumes pagination should detect volumes added between pages and accept tokens when the last volume from a page is deleted": pending,

	// MODIFY_VOLUME: loam has no parameter that can be changed.
	"Controller Service [Controller Server] CreateVolume should create volume with a volume attribute class":                                                      "Modify volume not supported",
	"Controller Service [Controller Server] CreateVolume should not create volume with an invalid volume attribute class":                                         "Modify Volume not supported",
	"ModifyVolume [Controller Server] should fail if no volume id is given":                                                                                       "ControllerModifyVolume not supported",
	"ModifyVolume [Controller Server] should fail if volume does not exist":                                                                                       "ControllerModifyVolume not supported",
	"ModifyVolume [Controller Server] should fail if specified mutable parameters are not supported by the volume":                                                "ControllerModifyVolume not supported",
	"ModifyVolume [Controller Server] should modify a volume created without a volume attribute class":                                                            "ControllerModifyVolume not supported",
	"ModifyVolume [Controller Server] should modify a volume created with a volume attribute class":                                                               "ControllerModifyVolume not supported",
	"ModifyVolume [Controller Server] should fail to modify a volume created with a volume attribute class if new mutable parameters are not supported by volume": "ControllerModifyVolume not supported",

	// GET_VOLUME_HEALTH, LIST_VOLUME_HEALTH, GET_STORAGE_HEALTH: alpha.
	"ControllerGetVolumeHealth [Controller Server] should fail when no volume id is provided": "ControllerGetVolumeHealth not supported",
	"ControllerGetVolumeHealth [Controller Server] should return health for a valid volume":   "ControllerGetVolumeHealth not supported",
	"ControllerListVolumeHealth [Controller Server] should return appropriate response":       "ControllerListVolumeHealth not supported",
	"Node Service NodeGetVolumeHealth should fail when no volume id is provided":              "NodeGetVolumeHealth not supported",
	"Node Service NodeGetVolumeHealth should return health for a valid volume":                "NodeGetVolumeHealth not supported",
	"Node Service NodeGetStorageHealth should return appropriate response":                    "NodeGetStorageHealth not supported",
}

const pending = "pending"

// attachLimit is the spec that runs only in a mode with a limit.
const attachLimit = "Controller Service [Controller Server] ControllerPublishVolume should fail when publishing more volumes than the node max attach limit"

// expected returns the specs that this mode does not run.
func (m mode) expected() map[string]string {
	all := maps.Clone(neverRun)
	if m.maxVolumes == 0 {
		all[attachLimit] = "testnodevolumeattachlimit not enabled"
	}
	return all
}

// check counts the specs and says whether those that did not run are just those expected.
func (m mode) check(report types.Report) error {
	specs := report.SpecReports.WithLeafNodeType(types.NodeTypeIt)
	notRun := map[string]string{}
	for _, s := range specs.WithState(types.SpecStateSkipped) {
		notRun[s.FullText()] = s.Failure.Message
	}
	for _, s := range specs.WithState(types.SpecStatePending) {
		notRun[s.FullText()] = pending
	}
	expected := m.expected()
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(notRun)) {
		fmt.Printf("not run: csi-sanity %s: %s (%s)\n", m.name, name, notRun[name])
		if expected[name] != notRun[name] {
			errs = append(errs, fmt.Errorf("%q did not run (%s), and is not expected to be skipped so", name, notRun[name]))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(expected)) {
		if _, skipped := notRun[name]; !skipped {
			errs = append(errs, fmt.Errorf("%q is expected not to run (%s), and did or is no longer there", name, expected[name]))
		}
	}
	passed, failed := specs.CountWithState(types.SpecStatePassed), specs.CountWithState(types.SpecStateFailureStates)
	skipped, waiting := specs.CountWithState(types.SpecStateSkipped), specs.CountWithState(types.SpecStatePending)
	fmt.Printf("count: csi-sanity %s: %d passed, %d failed, %d skipped (of %d), %d pending\n", m.name,
		passed, failed, skipped, len(specs)-waiting, waiting)
	if ended := passed + failed + len(notRun); ended != len(specs) {
		errs = append(errs, fmt.Errorf("%d specs ended, of %d", ended, len(specs)))
	}
	return errors.Join(errs...)
}
