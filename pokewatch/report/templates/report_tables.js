
// Without this script the tables are whole and stay as they are.
for (const table of document.querySelectorAll("table.sortable")) {
  const box = table.parentElement;
  box.classList.add("paged");
  new DataTable(table, {
    order: [],
    pageLength: 25,
    lengthMenu: [10, 25, 100],
    autoWidth: false,
    layout: { topStart: "search", topEnd: "info", bottomStart: "pageLength", bottomEnd: "paging" },
    language: {
      search: "Search",
      searchPlaceholder: "a card, a set, BUY …",
      lengthMenu: "_MENU_ a page",
      info: "_START_ to _END_ of _TOTAL_",
      infoEmpty: "none",
      infoFiltered: "(of _MAX_)",
      zeroRecords: "No card has all of these words.",
    },
  });
}
