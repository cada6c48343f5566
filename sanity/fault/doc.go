// Package fault has disks fail under the driver and asks what it does: whether an error is clear, whether what was
// acknowledged is still there, and whether all goes on when the disk is well again. It has only tests.
//
// The disks are device-mapper devices over the blank disks that LOAM_TEST_DISKS names: they are made to refuse
// writes, or all requests, and to take them again, while volume groups are on them. Thin pools are filled to the
// last block.
package fault
