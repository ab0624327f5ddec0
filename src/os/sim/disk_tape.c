/* The tape on which a virtual disk's operations are recorded. */
#include "os/sim/disk.h"
#include "os/sim/sim.h"

pli_disk_op *pli_disk_tape_add(pli_disk *disk, pli_disk_op_kind kind, const pli_inode *inode)
{
    pli_disk_tape *tape = disk->tape;

    if (!tape)
        return NULL;
    if (tape->n == tape->room) {
        tape->room = tape->room ? tape->room * 2 : 64;
        tape->ops = pli_sim_krealloc(tape->ops, tape->room * sizeof *tape->ops);
    }
    tape->ops[tape->n] = (pli_disk_op){.kind = kind, .inode = inode ? inode->number : 0};
    return &tape->ops[tape->n++];
}

void pli_disk_record(pli_disk *disk, pli_disk_tape *tape)
{
    disk->tape = tape;
}

void pli_disk_mark(pli_disk *disk, uint64_t mark)
{
    pli_disk_op *op = pli_disk_tape_add(disk, PLI_DISK_MARK, NULL);

    if (op)
        op->at = mark;
}

void pli_disk_tape_done(pli_disk_tape *tape)
{
    for (size_t i = 0; i < tape->n; ++i) {
        pli_sim_kfree(tape->ops[i].bytes);
        pli_sim_kfree(tape->ops[i].from);
        pli_sim_kfree(tape->ops[i].to);
    }
    pli_sim_kfree(tape->ops);
    *tape = (pli_disk_tape){0};
}
