/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * start.S: entry through the PVH note, then to 64-bit mode.
 *
 * The loader enters in 32-bit protected mode without paging.  Some KVMs that
 * are themselves inside a virtual machine run all privileged code by their
 * instruction emulator, a thousand times slower than the CPU, and only 64-bit
 * user mode on the CPU.  So the first thing is an identity map of 4 GiB and
 * 64-bit mode, and when that proves to be emulated (by its time), user mode.
 * The emulator knows neither IRET nor SYSRET there; SYSEXIT it knows.  To AMD's
 * CPUs SYSEXIT is an invalid instruction in 64-bit mode, so with these (also
 * with TCG's by default) a slow machine is just slow.
 */

        /* From protected mode, with GDT and page tables there. */
        .macro  enter_long target
        mov     $level4, %eax
        mov     %eax, %cr3
        mov     %cr4, %eax
        or      $0x20, %eax             /* PAE */
        mov     %eax, %cr4
        mov     $0xc0000080, %ecx       /* EFER: long mode */
        rdmsr
        or      $0x100, %eax
        wrmsr
        mov     %cr0, %eax
        or      $0x80000001, %eax       /* paging, protected mode */
        mov     %eax, %cr0
        ljmp    $8, $\target
        .endm

        /* Goes on at the target in user mode, on the same stack. */
        .macro  enter_user target
        mov     $0x174, %ecx            /* SYSENTER_CS: SYSEXIT takes it */
        mov     $8, %eax
        xor     %edx, %edx
        wrmsr
        mov     %esp, %ecx
        mov     $\target, %edx
        sysexitq
        .endm

        .section .note.pvh, "a", @note
        .align  4
        .long   4                       /* name size */
        .long   4                       /* description size */
        .long   18                      /* XEN_ELFNOTE_PHYS32_ENTRY */
        .asciz  "Xen"
        .long   pvh_entry

        .text
        .code32
        .globl  pvh_entry
pvh_entry:
        cli
        cld
        mov     %ebx, %esi              /* struct hvm_start_info */

        /* Level 4 and 3: one table each; level 2: four of 2 MiB pages. */
        mov     $level3 + 0x7, %eax
        mov     %eax, level4
        xor     %ecx, %ecx
1:      mov     %ecx, %eax
        shl     $12, %eax
        add     $level2 + 0x7, %eax
        mov     %eax, level3(, %ecx, 8)
        inc     %ecx
        cmp     $4, %ecx
        jne     1b
        xor     %ecx, %ecx
2:      mov     %ecx, %eax
        shl     $21, %eax
        or      $0x87, %eax             /* present, writable, user, 2 MiB */
        mov     %eax, level2(, %ecx, 8)
        inc     %ecx
        cmp     $2048, %ecx
        jne     2b

        lgdt    gdt_pointer
        enter_long long_mode

        .code64
long_mode:
        xor     %eax, %eax
        mov     %eax, %ds
        mov     %eax, %es
        mov     %eax, %ss
        mov     $stack_top, %esp
        xor     %ebp, %ebp
        mov     %esi, %edi              /* its upper half is zero now */
        push    %rsi
        call    timer_init
        pop     %rsi
        call    is_emulated
        test    %eax, %eax
        jz      5f
        mov     $task_state, %eax
        mov     %ax, gdt_task + 2
        shr     $16, %eax
        mov     %al, gdt_task + 4
        mov     $gdt_task - gdt, %eax
        ltr     %ax                     /* all ports in user mode, too */
        incb    in_user_mode
        enter_user 5f
5:      mov     %esi, %edi              /* its upper half is zero now */
        call    tiny_main
6:      hlt
        jmp     6b

        /* A further CPU, in real mode; smp.c copies this to where it is. */
        .code16
        .globl  smp_code
smp_code:
        cli
        cld
        lgdtl   %cs:smp_gdt_pointer - smp_code
        mov     %cr0, %eax
        or      $1, %eax
        mov     %eax, %cr0
        ljmpl   $24, $smp_protected
smp_gdt_pointer:
        .word   task_state - gdt - 1
        .long   gdt
        .globl  smp_code_end
smp_code_end:

        .code32
smp_protected:
        mov     $16, %eax
        mov     %eax, %ds
        mov     %eax, %es
        mov     %eax, %ss
        enter_long smp_long

        .code64
smp_long:
        xor     %eax, %eax
        mov     %eax, %ds
        mov     %eax, %es
        mov     %eax, %ss
        mov     $1, %edi
        lock xadd %edi, smp_came        /* its number */
        cmp     smp_wanted, %edi
        jae     6b
        mov     %edi, %esp
        shl     $13, %esp
        add     $smp_stacks, %esp
        push    %rdi
        call    faults_init
        pop     %rdi
        cmpb    $0, in_user_mode
        je      7f
        enter_user 7f
7:      call    smp_enter
        jmp     6b

        /*
         * is_emulated: eax = whether an instruction takes above 100 cycles,
         * at the best of eight tries of a loop of 256 instructions, on one of
         * Intel's CPUs ("Genu" is how its name begins).
         */
is_emulated:
        xor     %eax, %eax
        cpuid
        xor     %eax, %eax
        cmp     $0x756e6547, %ebx
        jne     3f
        mov     $-1, %r8d
        mov     $8, %r9d
1:      rdtsc
        mov     %eax, %r10d
        mov     $128, %ecx
2:      dec     %ecx
        jnz     2b
        rdtsc
        sub     %r10d, %eax
        cmp     %r8d, %eax
        cmovb   %eax, %r8d
        dec     %r9d
        jnz     1b
        xor     %eax, %eax
        cmp     $25600, %r8d
        seta    %al
3:      ret

        /*
         * void timer_wait(void): halts until the next timer tick.  Interrupts
         * are on in nothing but the HLT, so the handler need not restore
         * anything: it drops its frame and jumps back.  In kernel mode only.
         */
        .globl  timer_wait
timer_wait:
        sti
        hlt
        cli
        ret

        .globl  timer_entry
timer_entry:
        incl    tiny_ticks
        mov     $0x20, %al
        out     %al, $0x20
        .globl  spurious_entry          /* of IRQ 7: no end of interrupt */
spurious_entry:
        pop     %rax                    /* ip, cs, flags, sp, ss */
        add     $16, %rsp
        pop     %rsp
        jmp     *%rax

        /* A CPU exception: say so, then stop. */
        .globl  fault_entry
fault_entry:
        mov     %rsp, %rdi
        call    tiny_fault

        .data
        .align  8
gdt:    .quad   0
        .quad   0x00af9b000000ffff      /* 64-bit code, accessed already */
        .quad   0x00cf93000000ffff      /* data, accessed already */
        .quad   0x00cf9b000000ffff      /* 32-bit code */
        .quad   0
        .quad   0x00affb000000ffff      /* SYSEXIT: user code */
        .quad   0x00cff3000000ffff      /* SYSEXIT: user data */
gdt_task:
        .word   8296, 0, 0x8900, 0      /* task state, address to come */
        .quad   0
task_state:
        .long   0
        .quad   fault_stack
        .space  90
        .word   104                     /* every port allowed */
        .space  8192
        .byte   0xff
gdt_pointer:
        .word   task_state - gdt - 1
        .long   gdt

        .bss
        .align  4096
level4: .space  4096
level3: .space  4096
level2: .space  4 * 4096
        .space  16384
stack_top:
        .space  4096
fault_stack:
smp_stacks:
        .space  3 * 8192
        .globl  in_user_mode
in_user_mode:
        .byte   0

        .section .note.GNU-stack, "", @progbits
